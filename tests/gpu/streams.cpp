#include <ATen/ops/equal.h>

#include <cstdint>
#include <string>

#include "lisa/gpu/host_copy.hpp"
#include "lisa/gpu/pending_tensor.hpp"
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
  const gpu::PendingTensor pending(x.device(), [&] { return chain(x); });
  checks.within("a tensor of another stream", test::relative_l2(pending.get(), expected), 1e-4);
  const at::Tensor sum = chain(x).sum(0);
  const gpu::HostCopy copy(sum);
  checks.equal("a copy on its way to the host", at::equal(copy.wait(), sum.to(at::kCPU)));
}

}  // namespace

void check_streams(Checks& checks) {
  check_uploads(checks);
  check_pending(checks);
}

}  // namespace lisa::gpu_test
