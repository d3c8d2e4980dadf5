#include "lisa/aten/thread_count.hpp"

#include <ATen/Parallel.h>

#include <thread>

// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using lisa::aten::ThreadCount;

TEST_CASE("a thread count holds for its own thread and while it lives") {
  const int before = at::get_num_threads();
  {
    const ThreadCount three(3);
    CHECK(at::get_num_threads() == 3);
    int elsewhere = 0;
    std::thread([&] { elsewhere = at::get_num_threads(); }).join();
    CHECK(elsewhere == before);
    {
      const ThreadCount one(1);
      CHECK(at::get_num_threads() == 1);
    }
    CHECK(at::get_num_threads() == 3);
  }
  CHECK(at::get_num_threads() == before);
}
