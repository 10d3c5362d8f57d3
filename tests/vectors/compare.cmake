# Runs the generator, and fails unless it writes exactly the files in tests/vectors.
#
#   cmake "-DGENERATOR=[EMULATOR;...]FILE" -DSOURCE=DIR -DSCRATCH=DIR [-DSPOIL=NAME] -P compare.cmake
#
# SPOIL changes one of the generated files: the comparison must then fail and name it.
file(REMOVE_RECURSE "${SCRATCH}")
file(MAKE_DIRECTORY "${SCRATCH}")
execute_process(COMMAND ${GENERATOR} "${SCRATCH}" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${GENERATOR} exited with ${status}, expected 0")
endif()
if(SPOIL)
  file(READ "${SCRATCH}/${SPOIL}" text)
  string(REPLACE "MOVED" "MOVES" text "${text}")
  file(WRITE "${SCRATCH}/${SPOIL}" "${text}")
endif()

file(GLOB written RELATIVE "${SCRATCH}" "${SCRATCH}/*.json")
file(GLOB kept RELATIVE "${SOURCE}" "${SOURCE}/*.json")
if(NOT "${written}" STREQUAL "${kept}")
  message(FATAL_ERROR "generated ${written}, but ${SOURCE} has ${kept}")
endif()
foreach(name ${written})
  execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files
    "${SCRATCH}/${name}" "${SOURCE}/${name}"
    RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${name} differs; to update it: ${GENERATOR} ${SOURCE}")
  endif()
endforeach()
