# Runs the generator, and fails unless what it writes is what lies in tests/vectors.
#
#   cmake -DGENERATOR=FILE -DSOURCE=DIR -DSCRATCH=DIR [-DSPOIL=NAME] -P compare.cmake
#
# SPOIL changes a byte of one file before: the comparison must then fail.
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
execute_process(COMMAND ${GENERATOR} ${SCRATCH} RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${GENERATOR} ended with ${status}")
endif()
if(SPOIL)
  file(READ ${SCRATCH}/${SPOIL} text)
  string(REPLACE "MOVED" "MOVES" text "${text}")
  file(WRITE ${SCRATCH}/${SPOIL} "${text}")
endif()

file(GLOB written RELATIVE ${SCRATCH} ${SCRATCH}/*.json)
file(GLOB kept RELATIVE ${SOURCE} ${SOURCE}/*.json)
if(NOT "${written}" STREQUAL "${kept}")
  message(FATAL_ERROR "the core has vectors for ${written}, and in ${SOURCE} are ${kept}")
endif()
foreach(name ${written})
  execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${SCRATCH}/${name} ${SOURCE}/${name}
    RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${SOURCE}/${name} is not what the core says: ${GENERATOR} ${SOURCE}")
  endif()
endforeach()
