# The lisa program: every preset.
lisa_add_program(
  lisa
  HEADER lisa/lisa.hpp
  SPEC lisa::Lisa7B
       lisa::Lisa13BLlama2
       lisa::Lisa7BLlava15
       lisa::Lisa7BSamL
       lisa::Lisa7BSamB)
