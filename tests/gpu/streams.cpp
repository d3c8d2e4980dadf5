#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "lisa/gpu/host_ring.hpp"
#include "lisa/gpu/pending_tensor.hpp"
#include "lisa/gpu/queued_upload.hpp"
#include "lisa/gpu/staged_upload.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/tensor_compare.hpp"

namespace lisa::gpu_test {
namespace {

void check_uploads(Checks& checks) {
  gpu::StagedUpload upload(/*buffer_bytes=*/1000);
  for (const dim rows : {1, 3, 250, 251, 5000})
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor source = test::random_tensor({rows, 7}, static_cast<std::uint64_t>(rows));
      const at::Tensor found = upload.to(source, at::kCUDA, dtype);
      checks.equal("an upload of " + std::to_string(source.nbytes()) + " bytes",
                   found.is_cuda() && at::equal(found.to(at::kCPU), source.to(dtype)));
    }
}

/// A long chain of products, so that who does not wait reads what is not there.
at::Tensor chain(at::Tensor x) {
  const at::Tensor turn = x.div(x.norm());
  for (int i = 0; i < 200; ++i) x = x.matmul(turn).div_(x.norm());
  return x;
}

void check_pending(Checks& checks) {
  const at::Tensor x = random_on_gpu({1024, 1024}, 1);
  const at::Tensor expected = chain(x);
  const gpu::PendingTensor pending(x.device(), [&] { return chain(x); }, {x});
  checks.within("a tensor of another stream", test::relative_l2(pending.get(), expected), 1e-4);
  const at::Tensor sum = chain(x).sum(0);
  const at::Tensor numbers = sum.mul(1e6).to(at::kLong);
  gpu::HostRing ring(x.device(), /*slots=*/2, numbers.size(0));
  ring.send(1, numbers);
  const auto arrived = ring.wait(1);
  const at::Tensor expected_numbers = numbers.to(at::kCPU);
  checks.equal("numbers on their way to the host",
               std::ranges::equal(arrived, std::span(expected_numbers.const_data_ptr<std::int64_t>(), arrived.size())));
  const at::Tensor bytes = test::random_tensor({333, 500, 3}, 2).mul(100).to(at::kChar);
  checks.equal("a queued upload", at::equal(gpu::queued_upload(bytes, at::kCUDA).to(at::kCPU), bytes));
}

}  // namespace

void check_streams(Checks& checks) {
  check_uploads(checks);
  check_pending(checks);
}

}  // namespace lisa::gpu_test
