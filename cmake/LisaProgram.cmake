# lisa_add_program(<target> [HEADER <header>...] SPEC <spec>...)
#
# Builds the whole command-line program for model specifications of one's own:
#
#   lisa_add_program(my-lisa HEADER my_spec.hpp SPEC MySpec)
#
# HEADER  headers that define the specifications: files relative to the current source folder, or names that the include
#         path finds ("lisa/model/presets.hpp").
# SPEC    the C++ names of the specifications, each compiled in its own file.
#
# The program's sources live in LISA_PROGRAM_DIR. What does not depend on a specification is compiled once per build
# tree; spec_entry.cpp.in and train_entry.cpp.in are filled in once per specification, spec_table.cpp.in once per program.

if(NOT LISA_PROGRAM_DIR)
  get_filename_component(LISA_PROGRAM_DIR "${CMAKE_CURRENT_LIST_DIR}/../examples/cli" ABSOLUTE)
endif()
set_property(GLOBAL PROPERTY LISA_PROGRAM_DIR "${LISA_PROGRAM_DIR}")

function(_lisa_program_objects)
  if(TARGET lisa_program_objects)
    return()
  endif()
  get_property(folder GLOBAL PROPERTY LISA_PROGRAM_DIR)
  find_path(LISA_CLI11_INCLUDE_DIR CLI/CLI.hpp)
  mark_as_advanced(LISA_CLI11_INCLUDE_DIR)
  if(NOT LISA_CLI11_INCLUDE_DIR)
    message(FATAL_ERROR "lisa_add_program needs CLI11 (CLI/CLI.hpp). On Debian: apt install libcli11-dev")
  endif()
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  add_library(lisa_program_objects OBJECT EXCLUDE_FROM_ALL ${sources})
  target_include_directories(lisa_program_objects PUBLIC "${folder}")
  target_include_directories(lisa_program_objects SYSTEM PUBLIC "${LISA_CLI11_INCLUDE_DIR}")
  target_link_libraries(lisa_program_objects PUBLIC lisa::io)
  if(TARGET lisa::cuda)
    target_link_libraries(lisa_program_objects PUBLIC lisa::cuda)
  endif()
  # A third of these files' compile time is reading the same three headers.
  target_precompile_headers(lisa_program_objects PRIVATE <CLI/CLI.hpp> <nlohmann/json.hpp> <ATen/core/Tensor.h>)
  if(COMMAND lisa_own_target)
    lisa_own_target(lisa_program_objects)
  endif()
endfunction()

function(lisa_add_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADER;SPEC")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lisa_add_program(${target}): unknown argument ${arg_UNPARSED_ARGUMENTS}; "
                        "expected [HEADER <header>...] SPEC <spec>...")
  endif()
  if(NOT arg_SPEC)
    message(FATAL_ERROR "lisa_add_program(${target}): SPEC is missing: name at least one model specification")
  endif()
  get_property(folder GLOBAL PROPERTY LISA_PROGRAM_DIR)
  _lisa_program_objects()

  set(LISA_SPEC_INCLUDES "")
  foreach(header ${arg_HEADER})
    get_filename_component(absolute "${header}" ABSOLUTE)
    if(EXISTS "${absolute}")
      set(header "${absolute}")
    elseif(IS_ABSOLUTE "${header}")
      message(FATAL_ERROR "lisa_add_program(${target}): HEADER ${header} does not exist")
    endif()
    string(APPEND LISA_SPEC_INCLUDES "#include \"${header}\"\n")
  endforeach()

  set(generated "${CMAKE_CURRENT_BINARY_DIR}/${target}.specs")
  set(sources "")
  set(index 0)
  set(LISA_SPEC_DECLARATIONS "")
  set(LISA_SPEC_ENTRIES "")
  foreach(LISA_SPEC ${arg_SPEC})
    set(LISA_SPEC_INDEX ${index})
    configure_file("${folder}/spec_entry.cpp.in" "${generated}/spec_${index}.cpp" @ONLY)
    configure_file("${folder}/train_entry.cpp.in" "${generated}/train_${index}.cpp" @ONLY)
    list(APPEND sources "${generated}/spec_${index}.cpp" "${generated}/train_${index}.cpp")
    string(APPEND LISA_SPEC_DECLARATIONS "SpecEntry spec_entry_${index}();\n")
    string(APPEND LISA_SPEC_ENTRIES "      spec_entry_${index}(),\n")
    math(EXPR index "${index} + 1")
  endforeach()
  configure_file("${folder}/spec_table.cpp.in" "${generated}/spec_table.cpp" @ONLY)

  add_executable(${target} ${sources} "${generated}/spec_table.cpp")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE lisa_program_objects)
  if(COMMAND lisa_own_target)
    lisa_own_target(${target})
  endif()
endfunction()
