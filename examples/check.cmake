# SPDX-License-Identifier: MIT
# cmake -DPROGRAM=... -DOUTPUT=... -P check.cmake: run PROGRAM; it must succeed and print what OUTPUT matches, or, with
# -DOUTPUT_FILE=..., exactly what is in that file.
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE printed RESULT_VARIABLE code)
message(STATUS "printed:\n${printed}")
if(NOT code EQUAL 0)
    message(FATAL_ERROR "exit code ${code}")
endif()
if(OUTPUT_FILE)
    file(READ "${OUTPUT_FILE}" expected)
    if(NOT printed STREQUAL expected)
        message(FATAL_ERROR "which is not:\n${expected}")
    endif()
    return()
endif()
if(NOT printed MATCHES "${OUTPUT}")
    message(FATAL_ERROR "which does not match:\n${OUTPUT}")
endif()
