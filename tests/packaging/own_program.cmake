# From a checkpoint of any sizes to a program for it, with nothing but the installed package: `lisa info --spec`, five
# lines of CMake, and the answer of the new program beside that of the program which this build made for the same
# checkpoint. cmake -DLISA_PROGRAM=... -DPROJECT=... -P own_program.cmake
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE problems)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}${problems}")
  endif()
  set(run_output "${output}" PARENT_SCOPE)
endfunction()

# What the answer in a folder holds, as text: names and contents of its files, without the times.
function(answer_in folder result)
  file(GLOB_RECURSE files LIST_DIRECTORIES false RELATIVE "${folder}" "${folder}/*.png")
  list(SORT files)
  set(text "")
  foreach(file IN LISTS files)
    file(SHA256 "${folder}/${file}" hash)
    string(APPEND text "${file} ${hash}\n")
  endforeach()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${BUILD}")
file(MAKE_DIRECTORY "${BUILD}")
set(model --model "${GOLDEN}/model_a" --vision-tower "${GOLDEN}/clip_a")

run("info --spec" "${LISA_PROGRAM}" info --spec "${GOLDEN}/model_a" --vision-tower "${GOLDEN}/clip_a" --decoder-heads 4
    --name MySpec)
file(WRITE "${BUILD}/my_spec.hpp" "${run_output}")

# Without optimisation: this is about files and targets.
run("configure" "${CMAKE_COMMAND}" -S "${PROJECT}" -B "${BUILD}/build" -G "${GENERATOR}" "-DCMAKE_PREFIX_PATH=${INSTALLED}"
    "-DLISA_TORCH_DIR=${TORCH}" "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
    "-DSPEC_HEADER=${BUILD}/my_spec.hpp" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0)
run("build" "${CMAKE_COMMAND}" --build "${BUILD}/build")

foreach(program IN ITEMS "${BUILD}/build/my-lisa" "${LISA_PROGRAM}")
  get_filename_component(name "${program}" NAME)
  run("segment by ${name}" "${program}" segment ${model} --image "${GOLDEN}/a1/a1.png" --prompt
      "Where is the dog in this image? Please output segmentation mask." --force-answer "It is [SEG]." --output
      "${BUILD}/${name}")
  answer_in("${BUILD}/${name}" "answer_of_${name}")
endforeach()
get_filename_component(reference "${LISA_PROGRAM}" NAME)
if(answer_of_my-lisa STREQUAL "" OR NOT answer_of_my-lisa STREQUAL "${answer_of_${reference}}")
  message(FATAL_ERROR "found the pictures\n${answer_of_my-lisa}expected those of ${reference}:\n${answer_of_${reference}}")
endif()
