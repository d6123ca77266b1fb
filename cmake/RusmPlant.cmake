# SPDX-License-Identifier: MIT
# RUSM_PLANT=<NAME>: build with one bug planted, which the simulator must find (docs/design/simulation.md). The bug is
# the code under #ifdef RUSMI_PLANT_<NAME>, in one source file, which alone is compiled with that definition; so a build
# tree goes from one plant to the next by compiling two files.
set(RUSM_PLANT "" CACHE STRING "The name of a planted bug, or empty; for tests of the tests only")
if(RUSM_PLANT)
    set(planted FALSE)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/*.c")
    foreach(source IN LISTS sources)
        file(STRINGS "${source}" lines REGEX "RUSMI_PLANT_${RUSM_PLANT}$")
        if(lines)
            get_filename_component(folder "${source}" DIRECTORY)
            set_source_files_properties("${source}" DIRECTORY "${folder}" PROPERTIES
                COMPILE_DEFINITIONS "RUSMI_PLANT_${RUSM_PLANT}")
            set(planted TRUE)
        endif()
    endforeach()
    if(NOT planted)
        message(FATAL_ERROR "no source has a bug RUSMI_PLANT_${RUSM_PLANT}")
    endif()
endif()
