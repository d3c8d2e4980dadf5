#include <benchmark/benchmark.h>

#include "lisa/base/keep_freed_memory.hpp"

int main(int argc, char** argv) {
  lisa::keep_freed_memory();  // as the lisa program does
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
