# SPDX-License-Identifier: MIT
# Installation: libraries, headers, command, manual pages, pkg-config and CMake package files, licence.
# What is installed finds its parts relative to itself, so that `cmake --install --prefix` and a moved tree work.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/rusm")

set_target_properties(rusm-otp PROPERTIES EXPORT_NAME otp)
set_target_properties(rusm-cluster PROPERTIES EXPORT_NAME cluster)
set_target_properties(rusm-otp-static PROPERTIES EXPORT_NAME otp-static)
set_target_properties(rusm-cluster-static PROPERTIES EXPORT_NAME cluster-static)
if(NOT DEFINED CMAKE_INSTALL_RPATH)
    set_target_properties(rusm-cluster PROPERTIES INSTALL_RPATH "$ORIGIN")
endif()

install(TARGETS rusm-otp rusm-cluster EXPORT rusmTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(TARGETS rusm-otp-static rusm-cluster-static EXPORT rusmStaticTargets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT rusmTargets NAMESPACE rusm:: DESTINATION "${package_dir}")
install(EXPORT rusmStaticTargets NAMESPACE rusm:: DESTINATION "${package_dir}")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/rusmConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/rusmConfig.cmake" INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/rusmConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/rusmConfig.cmake" "${PROJECT_BINARY_DIR}/rusmConfigVersion.cmake"
    DESTINATION "${package_dir}")

# rusm_pc_path(<variable> <folder>): the folder of the prefix, or itself where it is absolute.
function(rusm_pc_path variable folder)
    if(IS_ABSOLUTE "${folder}")
        set(${variable} "${folder}" PARENT_SCOPE)
    else()
        set(${variable} "\${prefix}/${folder}" PARENT_SCOPE)
    endif()
endfunction()
rusm_pc_path(RUSM_PC_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
rusm_pc_path(RUSM_PC_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
file(RELATIVE_PATH RUSM_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
foreach(name rusm-otp rusm-cluster)
    configure_file("${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/rusm" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.h")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

file(GLOB commands_pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/man/*.1")
install(FILES ${commands_pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
if(TARGET man)
    install(DIRECTORY "${PROJECT_BINARY_DIR}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man3"
        FILES_MATCHING PATTERN "*.3" PATTERN "CMakeFiles" EXCLUDE)
endif()

# The target of the command is named rusm.
if(TARGET rusm)
    if(NOT DEFINED CMAKE_INSTALL_RPATH)
        file(RELATIVE_PATH bin_to_lib "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
        set_target_properties(rusm PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
    endif()
    install(TARGETS rusm RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
