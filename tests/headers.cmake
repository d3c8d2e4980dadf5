# Every public header compiles alone: one file each that includes nothing else. Headers without libtorch are compiled
# without its include path, by the project's compiler and by clang; the rest by the project's compiler, and together, as
# umbrella and preset instantiations (umbrella.cpp), by clang. Headers that include ATen/core/Tensor.h, directly or not,
# get it precompiled: includes come before anything that could depend on them, so it hides nothing that they lack.

function(lisa_headers_that kind result)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/layering.py" ${kind} "${PROJECT_SOURCE_DIR}/include"
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" found "${found}")
  set(${result} "${found}" PARENT_SCOPE)
endfunction()
lisa_headers_that(torch-free torch_free_headers)
lisa_headers_that(tensors tensor_headers)

file(GLOB_RECURSE headers RELATIVE "${PROJECT_SOURCE_DIR}/include" CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/include/lisa/*.hpp")
set(alone_plain "")
set(alone_tensors "")
set(alone_rest "")
foreach(header ${headers})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/${header}")
  string(REGEX REPLACE "[/.]" "_" name "${header}")
  set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"${header}\"\n")
  if(header IN_LIST torch_free_headers)
    list(APPEND alone_plain "${source}")
  elseif(header IN_LIST tensor_headers)
    list(APPEND alone_tensors "${source}")
  else()
    list(APPEND alone_rest "${source}")
  endif()
endforeach()

function(lisa_compile_alone name)
  add_library(${name} OBJECT ${ARGN})
  target_compile_options(${name} PRIVATE -O0)
  lisa_own_target(${name})
endfunction()
lisa_compile_alone(lisa_headers_alone ${alone_plain})
target_link_libraries(lisa_headers_alone PRIVATE lisa::core LisaCodecs::codecs)
lisa_compile_alone(lisa_tensor_headers_alone ${alone_tensors})
target_link_libraries(lisa_tensor_headers_alone PRIVATE lisa::io)
target_precompile_headers(lisa_tensor_headers_alone PRIVATE <ATen/core/Tensor.h>)
lisa_compile_alone(lisa_c10_headers_alone ${alone_rest})
target_link_libraries(lisa_c10_headers_alone PRIVATE lisa::io)

# clang as a second opinion, run beside whatever compiler builds the project.
find_program(LISA_CLANG NAMES clang++-19 clang++)
mark_as_advanced(LISA_CLANG)
if(NOT LISA_CLANG OR CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  return()
endif()
set(clang_checked "")
function(lisa_clang_check source)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "INCLUDES;SYSTEM_INCLUDES")
  get_filename_component(name "${source}" NAME_WE)
  set(stamp "${CMAKE_CURRENT_BINARY_DIR}/clang/${name}.checked")
  list(TRANSFORM arg_INCLUDES PREPEND -I)
  set(system "$<REMOVE_DUPLICATES:${arg_SYSTEM_INCLUDES}>")
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND "${LISA_CLANG}" -std=c++20 -Wall -Wextra -Werror -fopenmp -fsyntax-only ${arg_INCLUDES}
            "$<$<BOOL:${system}>:-isystem;$<JOIN:${system},;-isystem;>>" -MD -MT "${stamp}" -MF "${stamp}.d" "${source}"
    COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
    DEPENDS "${source}"
    DEPFILE "${stamp}.d"
    COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "clang reads ${name}")
  set(clang_checked ${clang_checked} "${stamp}" PARENT_SCOPE)
endfunction()

file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/clang")
set(codec_includes "$<TARGET_PROPERTY:LisaCodecs::codecs,INTERFACE_INCLUDE_DIRECTORIES>")
# /usr/include must keep its place behind the C++ headers.
set(codec_includes "$<FILTER:${codec_includes},EXCLUDE,^/usr/include$>")
foreach(source ${alone_plain})
  lisa_clang_check("${source}" INCLUDES "${PROJECT_SOURCE_DIR}/include" SYSTEM_INCLUDES "${codec_includes}")
endforeach()
lisa_clang_check("${CMAKE_CURRENT_SOURCE_DIR}/umbrella.cpp" INCLUDES "${PROJECT_SOURCE_DIR}/include" SYSTEM_INCLUDES
                 "${codec_includes};${LibTorch_INCLUDE_DIR}")
add_custom_target(lisa_clang_checks ALL DEPENDS ${clang_checked})
