# The lisa program: every preset, each a large file to compile. Built by name (`cmake --build build/release --target lisa`);
# the tests build the same sources for the sizes of their own checkpoint.
lisa_add_program(
  lisa
  HEADER lisa/lisa.hpp
  SPEC lisa::Lisa7B
       lisa::Lisa13BLlama2
       lisa::Lisa7BLlava15
       lisa::Lisa7BSamL
       lisa::Lisa7BSamB)
set_target_properties(lisa PROPERTIES EXCLUDE_FROM_ALL TRUE)
