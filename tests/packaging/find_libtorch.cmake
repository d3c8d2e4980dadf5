# Every place where libtorch may lie: cmake -DPROJECT=... -DBUILD=... -DLISA=... -DTORCH=... -P find_libtorch.cmake
# A link of its own for each place tells which of them was taken.
file(REMOVE_RECURSE "${BUILD}")

# find(<name> <expected folder, or text of the error> <cmake arguments>...)
function(find name expected)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${PROJECT}" -B "${BUILD}/${name}" -G "${GENERATOR}" "-DLISA=${LISA}"
            "-DCMAKE_CXX_COMPILER=${COMPILER}" ${ARGN}
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(IS_DIRECTORY "${expected}")
    set(expected "found in ${expected}/include\n")
  elseif(status EQUAL 0)
    message(FATAL_ERROR "${name}: accepted, expected an error:\n${output}")
  endif()
  string(REGEX REPLACE "[ \n]+" " " output_in_line "${output}")
  string(REGEX REPLACE "[ \n]+" " " expected_in_line "${expected}")
  string(FIND "${output_in_line}" "${expected_in_line}" found)
  if(found EQUAL -1)
    message(FATAL_ERROR "${name}: expected \"${expected}\" in\n${output}")
  endif()
  # libtorch for the CPU asks for no CUDA toolkit.
  file(STRINGS "${BUILD}/${name}/CMakeCache.txt" cuda REGEX "^CUDAToolkit_")
  if(cuda)
    message(FATAL_ERROR "${name}: looked for a CUDA toolkit: ${cuda}")
  endif()
endfunction()

function(link_torch link)
  get_filename_component(folder "${link}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  file(CREATE_LINK "${TORCH}" "${link}" SYMBOLIC)
endfunction()

set(no_python "-DLibTorch_PYTHON=${CMAKE_COMMAND}") # a program that knows no Python package

link_torch("${BUILD}/places/given")
find(given "${BUILD}/places/given" "-DLISA_TORCH_DIR=${BUILD}/places/given")

link_torch("${BUILD}/places/pip/torch")
set(ENV{PYTHONPATH} "${BUILD}/places/pip")
find(pip "${BUILD}/places/pip/torch")
unset(ENV{PYTHONPATH})

link_torch("${BUILD}/venv_in_build/venv/lib/python3.11/site-packages/torch")
find(venv_in_build "${BUILD}/venv_in_build/venv/lib/python3.11/site-packages/torch" ${no_python})

link_torch("${BUILD}/places/system")
find(system "${BUILD}/places/system" ${no_python} "-DCMAKE_PREFIX_PATH=${BUILD}/places/system")

file(MAKE_DIRECTORY "${BUILD}/places/config/share/cmake/Torch")
foreach(part include lib)
  file(CREATE_LINK "${TORCH}/${part}" "${BUILD}/places/config/${part}" SYMBOLIC)
endforeach()
find(torch_dir "${BUILD}/places/config" ${no_python} "-DTorch_DIR=${BUILD}/places/config/share/cmake/Torch")

# A wrong folder fails although there is a right one elsewhere.
find(wrong "LISA_TORCH_DIR is ${BUILD}/nowhere: it must hold include/ATen/core/Tensor.h" "-DLISA_TORCH_DIR=${BUILD}/nowhere"
     "-DCMAKE_PREFIX_PATH=${BUILD}/places/system")

# A libtorch for the CPU is no libtorch for GPUs, and the error says what lacks.
file(MAKE_DIRECTORY "${BUILD}/places/cpu_half/lib")
file(CREATE_LINK "${TORCH}/include" "${BUILD}/places/cpu_half/include" SYMBOLIC)
foreach(library torch_cpu c10)
  file(CREATE_LINK "${TORCH}/lib/lib${library}.so" "${BUILD}/places/cpu_half/lib/lib${library}.so" SYMBOLIC)
endforeach()
find(cpu_half "${BUILD}/places/cpu_half/lib must hold libtorch_cuda.so and libc10_cuda.so"
     "-DLISA_TORCH_DIR=${BUILD}/places/cpu_half" -DCOMPONENT=CUDA)
