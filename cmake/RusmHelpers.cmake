# SPDX-License-Identifier: MIT
# Flags shared by every target, and the one-line registrations of sources and tests.

add_library(rusm_flags INTERFACE)
target_compile_definitions(rusm_flags INTERFACE _GNU_SOURCE)
target_include_directories(rusm_flags INTERFACE
    "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/test")
target_compile_options(rusm_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:
    -Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow;-Wmissing-prototypes;-Wstrict-prototypes;-Wvla;-Wundef;
    -Wpointer-arith;-Wwrite-strings;-fno-strict-aliasing;-fno-omit-frame-pointer>)
option(RUSM_WERROR "Treat warnings as errors" ON)
if(RUSM_WERROR)
    target_compile_options(rusm_flags INTERFACE -Werror)
endif()
if(RUSM_SANITIZE STREQUAL "address")
    target_compile_options(rusm_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(rusm_flags INTERFACE -fsanitize=address,undefined)
elseif(RUSM_SANITIZE STREQUAL "thread")
    target_compile_options(rusm_flags INTERFACE -fsanitize=thread)
    target_link_options(rusm_flags INTERFACE -fsanitize=thread)
elseif(RUSM_SANITIZE)
    message(FATAL_ERROR "RUSM_SANITIZE is address, thread or empty, not ${RUSM_SANITIZE}")
endif()

# rusm_folder(<folder> <source>... ): the objects of src/<folder>, to be put into a library.
function(rusm_folder name)
    add_library(rusm_${name} OBJECT ${ARGN})
    target_link_libraries(rusm_${name} PRIVATE rusm_flags)
    set_property(GLOBAL APPEND PROPERTY RUSM_FOLDERS ${name})
endfunction()

# rusm_test(<label> <name> <source>...): a cmocka program, ctest name <label>.<name>, linked to the static archives.
# TIMEOUT bounds a hang; it is no expectation about speed.
function(rusm_test label name)
    set(target "test_${label}_${name}")
    string(REPLACE "." "_" target "${target}")
    add_executable(${target} ${ARGN})
    target_link_libraries(${target} PRIVATE rusm_flags rusm-cluster-static rusm-otp-static PkgConfig::CMOCKA)
    if(TARGET rusm_test_support)
        target_link_libraries(${target} PRIVATE rusm_test_support)
    endif()
    add_test(NAME ${label}.${name} COMMAND ${target})
    set_tests_properties(${label}.${name} PROPERTIES LABELS "${label}" TIMEOUT 300)
endfunction()

# rusm_unit_test(<module>): in src/<folder>/CMakeLists.txt, registers src/<folder>/<module>_test.c as
# unit.<folder>.<module>. The test may use only what rusm-otp has when the folder is base, platform, otp or gen.
function(rusm_unit_test module)
    if(NOT RUSM_TESTS)
        return()
    endif()
    get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    set(target "test_unit_${folder}_${module}")
    add_executable(${target} "${CMAKE_CURRENT_SOURCE_DIR}/${module}_test.c")
    target_link_libraries(${target} PRIVATE rusm_flags)
    if(folder MATCHES "^(base|platform|otp|gen)$")
        target_link_libraries(${target} PRIVATE rusm-otp-static)
    else()
        target_link_libraries(${target} PRIVATE rusm-cluster-static rusm-otp-static
            PkgConfig::GNUTLS PkgConfig::NGTCP2 PkgConfig::CBOR)
    endif()
    target_link_libraries(${target} PRIVATE PkgConfig::CMOCKA)
    add_test(NAME unit.${folder}.${module} COMMAND ${target})
    set_tests_properties(unit.${folder}.${module} PROPERTIES LABELS unit TIMEOUT 300)
endfunction()
