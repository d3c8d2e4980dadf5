# Finds libtorch by its files, so that the pip wheel works without its TorchConfig.cmake, which asks for a CUDA toolkit.
#
#   find_package(LibTorch 2.11 REQUIRED [COMPONENTS CUDA])
#
# gives LibTorch::torch (torch_cpu and c10) and, with the component, LibTorch::cuda. Looked for, in this order:
#   LISA_TORCH_DIR                      a folder with include/ and lib/; when set, nothing else is tried
#   Torch_DIR                           <that folder>/share/cmake/Torch, as find_package(Torch) takes it
#   venv/ in or beside the build folder
#   the torch package of python3 on the PATH
#   LisaTorchHint                       where the installed package was built with it
#   CMAKE_PREFIX_PATH and the system

if(TARGET LibTorch::torch AND (TARGET LibTorch::cuda OR NOT "CUDA" IN_LIST LibTorch_FIND_COMPONENTS))
  set(LibTorch_FOUND TRUE)
  return()
endif()

set(LISA_TORCH_DIR "" CACHE PATH "Folder of libtorch: holds include/ and lib/libtorch_cpu.so")

function(_libtorch_candidates result)
  if(Torch_DIR)
    get_filename_component(root "${Torch_DIR}/../../.." ABSOLUTE)
    list(APPEND found "${root}")
  endif()
  file(GLOB beside_build "${CMAKE_BINARY_DIR}/venv/lib/python3*/site-packages/torch"
       "${CMAKE_BINARY_DIR}/../venv/lib/python3*/site-packages/torch")
  list(APPEND found ${beside_build})
  find_program(LibTorch_PYTHON NAMES python3 python)
  mark_as_advanced(LibTorch_PYTHON)
  if(LibTorch_PYTHON)
    # find_spec locates the package without importing it: a wheel installed with --no-deps cannot be imported.
    set(ask "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '', end='')")
    execute_process(COMMAND "${LibTorch_PYTHON}" -c "${ask}" OUTPUT_VARIABLE of_python ERROR_QUIET)
    list(APPEND found ${of_python})
  endif()
  list(APPEND found ${LisaTorchHint})
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# A changed LISA_TORCH_DIR must not be hidden by what an earlier run cached.
if(NOT "${LISA_TORCH_DIR}" STREQUAL "${LibTorch_SEARCHED_FOR}")
  foreach(variable INCLUDE_DIR LIBRARY_torch_cpu LIBRARY_c10 LIBRARY_torch_cuda LIBRARY_c10_cuda)
    unset(LibTorch_${variable} CACHE)
  endforeach()
endif()
set(LibTorch_SEARCHED_FOR "${LISA_TORCH_DIR}" CACHE INTERNAL "value of LISA_TORCH_DIR at the last search")

if(LISA_TORCH_DIR)
  set(_libtorch_paths "${LISA_TORCH_DIR}")
else()
  _libtorch_candidates(_libtorch_paths)
endif()
find_path(LibTorch_INCLUDE_DIR ATen/core/Tensor.h PATHS ${_libtorch_paths} PATH_SUFFIXES include NO_DEFAULT_PATH)
if(NOT LISA_TORCH_DIR)
  find_path(LibTorch_INCLUDE_DIR ATen/core/Tensor.h PATHS /opt/libtorch /usr/local/libtorch PATH_SUFFIXES include)
endif()
# The libraries must be those of the headers, never of another installation.
get_filename_component(_libtorch_root "${LibTorch_INCLUDE_DIR}/.." ABSOLUTE)
foreach(_libtorch_name torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_LIBRARY_${_libtorch_name} ${_libtorch_name} PATHS "${_libtorch_root}"
               PATH_SUFFIXES lib lib/x86_64-linux-gnu lib/aarch64-linux-gnu NO_DEFAULT_PATH)
  mark_as_advanced(LibTorch_LIBRARY_${_libtorch_name})
endforeach()
mark_as_advanced(LibTorch_INCLUDE_DIR)

foreach(_libtorch_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT LibTorch_VERSION AND EXISTS "${LibTorch_INCLUDE_DIR}/${_libtorch_header}")
    file(STRINGS "${LibTorch_INCLUDE_DIR}/${_libtorch_header}" _libtorch_lines
         REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" LibTorch_VERSION
                         "${_libtorch_lines}")
  endif()
endforeach()

set(LibTorch_CUDA_FOUND FALSE)
if("CUDA" IN_LIST LibTorch_FIND_COMPONENTS AND LibTorch_LIBRARY_torch_cuda AND LibTorch_LIBRARY_c10_cuda)
  find_package(CUDAToolkit QUIET)
  set(LibTorch_CUDA_FOUND ${CUDAToolkit_FOUND})
endif()

if(LISA_TORCH_DIR)
  set(_libtorch_advice "LISA_TORCH_DIR is ${LISA_TORCH_DIR}: it must hold include/ATen/core/Tensor.h and lib/libtorch_cpu.so.")
else()
  set(_libtorch_advice "Install it (pip install torch==2.11.0) or pass -DLISA_TORCH_DIR=<folder with include/ and lib/>.")
endif()
if("CUDA" IN_LIST LibTorch_FIND_COMPONENTS AND LibTorch_INCLUDE_DIR AND NOT LibTorch_CUDA_FOUND)
  set(_libtorch_advice
      "A CUDA build was asked for: ${_libtorch_root}/lib must hold libtorch_cuda.so and libc10_cuda.so, and there must be a CUDA toolkit.")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_LIBRARY_torch_cpu LibTorch_LIBRARY_c10 LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  HANDLE_COMPONENTS REASON_FAILURE_MESSAGE "${_libtorch_advice}")
if(NOT LibTorch_FOUND)
  return()
endif()

find_package(Threads REQUIRED)
# IMPORTED: the headers come in as system headers, the library folder goes into the rpath.
foreach(_libtorch_name c10 torch_cpu)
  if(TARGET LibTorch::torch) # found without CUDA before
    break()
  endif()
  add_library(LibTorch::${_libtorch_name} SHARED IMPORTED)
  set_target_properties(
    LibTorch::${_libtorch_name}
    PROPERTIES IMPORTED_LOCATION "${LibTorch_LIBRARY_${_libtorch_name}}"
               INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
endforeach()
if(NOT TARGET LibTorch::torch)
  add_library(LibTorch::torch INTERFACE IMPORTED)
  target_link_libraries(LibTorch::torch INTERFACE LibTorch::torch_cpu LibTorch::c10 Threads::Threads)
endif()
if(LibTorch_CUDA_FOUND)
  add_library(LibTorch::c10_cuda SHARED IMPORTED)
  set_target_properties(LibTorch::c10_cuda PROPERTIES IMPORTED_LOCATION "${LibTorch_LIBRARY_c10_cuda}")
  add_library(LibTorch::cuda INTERFACE IMPORTED)
  # torch_cuda registers its operators when it is loaded; no symbol refers to it, so --as-needed would drop it.
  target_link_libraries(
    LibTorch::cuda INTERFACE LibTorch::torch LibTorch::c10_cuda CUDA::cudart
                             "-Wl,--push-state,--no-as-needed,${LibTorch_LIBRARY_torch_cuda},--pop-state")
endif()
