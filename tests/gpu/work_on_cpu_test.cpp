// What is made for streams and graphs of a GPU, on a CPU, which has neither.
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>

#include "lisa/aten/operators.hpp"
#include "lisa/gpu/decode_attention.hpp"
#include "lisa/gpu/host_ring.hpp"
#include "lisa/gpu/pending_tensor.hpp"
#include "lisa/gpu/queued_upload.hpp"
#include "lisa/gpu/recorded_work.hpp"
#include "lisa/gpu/staged_upload.hpp"
#include "lisa/nn/decode_position.hpp"
#include "tests/support/random_parameters.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;

TEST_CASE("work that a GPU would record is run each time") {
  int runs = 0;
  gpu::RecordedWork work(at::kCPU, [&] { ++runs; });
  CHECK(runs == 0);
  for (int i = 1; i <= 4; ++i) {
    work.run();
    CHECK(runs == i);
  }
}

TEST_CASE("values on their way to the host are those of the moment they were sent, in slots of their own") {
  const at::Tensor values = aten::full({2}, 3, at::kLong);
  gpu::HostRing ring(at::kCPU, /*slots=*/2, /*numbers=*/2);
  const auto holds = [&](dim slot, std::int64_t number) {
    const auto found = ring.wait(slot);
    return found.size() == 2 && found[0] == number && found[1] == number;
  };
  ring.send(0, values);
  values.fill_(4);
  ring.send(1, values);
  CHECK(holds(0, 3));
  CHECK(holds(1, 4));
  values.fill_(5);
  ring.send(0, values);
  CHECK(holds(0, 5));
  CHECK(holds(1, 4));
}

TEST_CASE("an upload to a CPU is a copy") {
  const at::Tensor source = aten::full({2, 3}, 3, at::kByte);
  const at::Tensor copy = gpu::queued_upload(source, at::kCPU);
  source.fill_(4);
  CHECK(copy.equal(aten::full({2, 3}, 3, at::kByte)));
}

TEST_CASE("a tensor of another stream is computed at once, and once") {
  int runs = 0;
  const gpu::PendingTensor pending(at::kCPU, [&] {
    ++runs;
    return aten::ones({2});
  });
  CHECK(runs == 1);
  CHECK(pending.nbytes() == 8);
  CHECK(pending.get().const_data_ptr() == pending.get().const_data_ptr());
  CHECK(runs == 1);
}

TEST_CASE("weights for a CPU stay where they are unless their dtype changes") {
  gpu::StagedUpload upload;
  const at::Tensor weight = test::random_tensor({3, 5}, 1);
  CHECK(upload.to(weight, at::kCPU, at::kFloat).is_same(weight));
  const at::Tensor converted = upload.to(weight, at::kCPU, at::kBFloat16);
  CHECK(converted.equal(weight.to(at::kBFloat16)));
}

TEST_CASE("a step of decoding on a CPU is no kernel's, and writes nothing") {
  const c10::InferenceMode inference;
  const at::Tensor row = test::random_tensor({2, 64}, 1, at::kBFloat16);
  const at::Tensor table = test::random_tensor({8, 64}, 2, at::kBFloat16);
  const at::Tensor keys = test::random_tensor({2, 8, 64}, 3, at::kBFloat16), before = keys.clone();
  const DecodePosition position(at::kCPU);
  CHECK_FALSE(gpu::decode_attention({row, row, row, table, table, keys, keys, position.sequence()}).has_value());
  CHECK(keys.equal(before));
}

}  // namespace
