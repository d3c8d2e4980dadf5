# lisa::cuda, the compiled kernels of include/lisa/cuda/*.cu: a static library without libtorch, only where a CUDA toolkit is
# installed. Nothing depends on it yet, so that it is built on request or by what links it.

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "No CUDA toolkit found: there is no target lisa::cuda, everything else is built")
  return()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90a-real 100a-real) # before enable_language, which would choose
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know that nvcc can do C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()

file(GLOB lisa_cuda_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/lisa/cuda/*.cu")
add_library(lisa_cuda STATIC EXCLUDE_FROM_ALL ${lisa_cuda_sources})
add_library(lisa::cuda ALIAS lisa_cuda)
# libtorch brings the shared runtime; the static one, CMake's default, would be a second.
set_target_properties(lisa_cuda PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Shared
                                           POSITION_INDEPENDENT_CODE ON)
target_compile_options(lisa_cuda PRIVATE -Werror=all-warnings -Xcompiler=-Wall,-Wextra
                                         -Xptxas=--warning-as-error,-warn-spills)
target_link_libraries(lisa_cuda PUBLIC lisa_core CUDA::cudart)
