# The lisa program: every preset, each a large file to compile. Built by name (`cmake --build build/release --target lisa`);
# the tests build the same sources for the sizes of their own checkpoint.
lisa_add_program(
  lisa
  HEADER lisa/lisa.hpp
  SPEC lisa::Lisa7B
       lisa::Lisa13BLlama2
       lisa::Lisa7BLlava15
       lisa::Lisa7BSamL
       lisa::Lisa7BSamB
       lisa::LisaTiny)
set_target_properties(lisa PROPERTIES EXCLUDE_FROM_ALL TRUE)

# The same program for the small preset alone: what ./dev demo and the fine-tuning test run.
lisa_add_program(lisa-tiny HEADER lisa/lisa.hpp SPEC lisa::LisaTiny)
