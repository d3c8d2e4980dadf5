// Not torch-free: sanitizers have an allocator of their own.
#include "lisa/base/keep_freed_memory.hpp"

#include <sys/resource.h>

#include <cstddef>
#include <cstring>
#include <memory>

//
#include <doctest/doctest.h>

namespace {

/// Pages that the system hands out for a second use of 64 MB that were written and freed before.
long page_faults_of_second_use() {
  const auto use = [] {
    constexpr std::size_t bytes = std::size_t{64} << 20;
    const auto memory = std::make_unique_for_overwrite<char[]>(bytes);
    std::memset(memory.get(), 1, bytes);
    return memory[bytes / 2];
  };
  rusage before{}, after{};
  REQUIRE(use() == 1);
  getrusage(RUSAGE_SELF, &before);
  REQUIRE(use() == 1);
  getrusage(RUSAGE_SELF, &after);
  return after.ru_minflt - before.ru_minflt;
}

}  // namespace

TEST_CASE("memory that was freed is used again without asking the system for pages") {
  const long fresh = page_faults_of_second_use();
  lisa::keep_freed_memory();
  const long kept = page_faults_of_second_use();
#if defined(__GLIBC__)
  CHECK(fresh > 0);
  CHECK(kept * 10 < fresh);
#else
  CHECK(kept <= fresh);
#endif
}
