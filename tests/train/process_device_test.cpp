#include "lisa/train/process_device.hpp"

#include <ATen/core/Tensor.h>
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;

ProcessPlace place(int local_rank, int world_size) {
  ProcessPlace place;
  place.local_rank = local_rank;
  place.world_size = world_size;
  return place;
}

TEST_CASE("of several processes each takes the GPU of its number on its machine, unless one is named") {
  const c10::Device cpu(c10::DeviceType::CPU), any_gpu(c10::DeviceType::CUDA), third_gpu(c10::DeviceType::CUDA, 2);
  CHECK((process_device(any_gpu, place(1, 4)) == c10::Device(c10::DeviceType::CUDA, 1)));
  CHECK((process_device(any_gpu, place(0, 2)) == c10::Device(c10::DeviceType::CUDA, 0)));
  CHECK((process_device(third_gpu, place(1, 4)) == third_gpu));
  CHECK((process_device(cpu, place(1, 4)) == cpu));
  CHECK((process_device(any_gpu, place(0, 1)) == any_gpu));                // a single process: libtorch's current one
  CHECK((process_device(any_gpu, place(60'000, 60'001)).index() == 127));  // no machine has it: refused, not wrapped
}

}  // namespace
