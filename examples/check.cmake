# SPDX-License-Identifier: MIT
# cmake -DPROGRAM=... -DOUTPUT=... -P check.cmake: run PROGRAM; it must succeed and print what OUTPUT matches.
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE printed RESULT_VARIABLE code)
message(STATUS "printed:\n${printed}")
if(NOT code EQUAL 0)
    message(FATAL_ERROR "exit code ${code}")
endif()
if(NOT printed MATCHES "${OUTPUT}")
    message(FATAL_ERROR "which does not match:\n${OUTPUT}")
endif()
