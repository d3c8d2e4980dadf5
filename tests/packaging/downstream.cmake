# Configures, builds and runs the downstream project: cmake -DWAY=... -DPROJECT=... -P downstream.cmake
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}")
  endif()
  set(run_output "${output}" PARENT_SCOPE)
endfunction()

# From nothing: a cache left by an earlier run would hide what a new user meets.
file(REMOVE_RECURSE "${BUILD}")
run("configure" "${CMAKE_COMMAND}" -S "${PROJECT}" -B "${BUILD}" -G "${GENERATOR}" "-DLISA_FROM=${WAY}"
    "-DLISA_SOURCE=${LISA}" "-DCMAKE_PREFIX_PATH=${INSTALLED}" "-DLISA_TORCH_DIR=${TORCH}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
run("build" "${CMAKE_COMMAND}" --build "${BUILD}")
run("run" "${BUILD}/downstream")
if(NOT run_output MATCHES "^my-lisa: ")
  message(FATAL_ERROR "the downstream program says:\n${run_output}\nexpected a line that starts with \"my-lisa: \"")
endif()
message("${run_output}")
