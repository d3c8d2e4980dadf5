# lisa::cuda_kernels, the compiled kernels of include/lisa/cuda/*.cu: a static library without libtorch. lisa::cuda is what
# a program links: it adds libtorch's CUDA half and says to the headers (include/lisa/gpu/kernels.hpp) that kernels are
# there. Both exist with LISA_CUDA only.

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "LISA_CUDA is ON, but no CUDA toolkit was found: put its nvcc (CUDA 13) on the PATH, pass "
                      "-DCMAKE_CUDA_COMPILER=<nvcc>, or configure with -DLISA_CUDA=OFF")
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

# How CUDA sources of the project are built. The shared runtime, because libtorch brings it; the static one, CMake's
# default, would be a second.
function(lisa_cuda_options target)
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Shared)
  target_compile_options(
    ${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra>"
                      "$<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=--warning-as-error,-warn-spills>")
endfunction()

file(GLOB lisa_cuda_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/lisa/cuda/*.cu")
# Files named for an architecture use what only that one has; architectures belong to targets, so they have their own.
set(lisa_cuda_sm90a_sources ${lisa_cuda_sources})
list(FILTER lisa_cuda_sm90a_sources INCLUDE REGEX "_sm90a\\.cu$")
list(REMOVE_ITEM lisa_cuda_sources ${lisa_cuda_sm90a_sources})
add_library(lisa_cuda_sm90a_kernels OBJECT ${lisa_cuda_sm90a_sources})
set_target_properties(lisa_cuda_sm90a_kernels PROPERTIES CUDA_ARCHITECTURES 90a-real POSITION_INDEPENDENT_CODE ON)
lisa_cuda_options(lisa_cuda_sm90a_kernels)
target_link_libraries(lisa_cuda_sm90a_kernels PRIVATE lisa_core CUDA::cudart)

add_library(lisa_cuda_kernels STATIC ${lisa_cuda_sources} $<TARGET_OBJECTS:lisa_cuda_sm90a_kernels>)
add_library(lisa::cuda_kernels ALIAS lisa_cuda_kernels)
set_target_properties(lisa_cuda_kernels PROPERTIES EXPORT_NAME cuda_kernels POSITION_INDEPENDENT_CODE ON)
lisa_cuda_options(lisa_cuda_kernels)
target_link_libraries(lisa_cuda_kernels PUBLIC lisa_core CUDA::cudart)

add_library(lisa_cuda INTERFACE)
add_library(lisa::cuda ALIAS lisa_cuda)
set_target_properties(lisa_cuda PROPERTIES EXPORT_NAME cuda)
target_link_libraries(lisa_cuda INTERFACE lisa_cuda_kernels lisa_lisa LibTorch::cuda)
target_compile_definitions(lisa_cuda INTERFACE LISA_CUDA)
# Processes on several GPUs sum over NCCL where its header is.
find_path(LISA_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
mark_as_advanced(LISA_NCCL_INCLUDE_DIR)
if(LISA_NCCL_INCLUDE_DIR)
  target_compile_definitions(lisa_cuda INTERFACE LISA_NCCL)
  target_include_directories(lisa_cuda SYSTEM INTERFACE "${LISA_NCCL_INCLUDE_DIR}")
else()
  message(STATUS "No nccl.h found: processes cannot train on several GPUs together")
endif()
