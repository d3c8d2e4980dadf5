#include "lisa/gpu/kernel_choice.hpp"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <cstdlib>
#include <limits>
#include <map>
#include <string>

#include "lisa/gpu/causal_attention.hpp"
#include "lisa/gpu/gemv.hpp"
#include "lisa/gpu/mask_upsample.hpp"
#include "lisa/gpu/relative_attention.hpp"
#include "lisa/gpu/require_device.hpp"
#include "lisa/gpu/rms_norm.hpp"
#include "lisa/gpu/tensor_arguments.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/random_parameters.hpp"
// last: torch's logging macros of the same names must not win
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using gpu::KernelEnvironment;
using gpu::KernelOperand;

const c10::Device first_gpu(c10::DeviceType::CUDA, 0), second_gpu(c10::DeviceType::CUDA, 1);

TEST_CASE("a kernel is asked on a GPU, where it is linked and enabled, by operands that agree") {
  const KernelOperand bf16{first_gpu, at::kBFloat16};
  const KernelEnvironment with{.linked = true, .enabled = true};
  CHECK(gpu::kernels_apply({bf16}, with));
  CHECK(gpu::kernels_apply({bf16, bf16, bf16}, with));
  CHECK_FALSE(gpu::kernels_apply({bf16}, {.linked = false, .enabled = true}));
  CHECK_FALSE(gpu::kernels_apply({bf16}, {.linked = true, .enabled = false}));  // LISA_KERNELS=reference
  const KernelOperand on_cpu{c10::DeviceType::CPU, at::kBFloat16};
  CHECK_FALSE(gpu::kernels_apply({on_cpu, on_cpu}, with));
  CHECK_FALSE(gpu::kernels_apply({bf16, on_cpu}, with));
  CHECK_FALSE(gpu::kernels_apply({bf16, {second_gpu, at::kBFloat16}}, with));
  CHECK_FALSE(gpu::kernels_apply({bf16, {first_gpu, at::kHalf}}, with));
  CHECK_FALSE(gpu::kernels_apply({bf16, {first_gpu, at::kBFloat16, true}}, with));
  CHECK_FALSE(gpu::kernels_apply({{first_gpu, at::kBFloat16, true}}, with));
}

TEST_CASE("LISA_KERNELS=reference leaves everything to ATen and no other value does") {
  // The variable is read once for each process, so that each value needs a process: this test in another role.
  constexpr const char* role = "LISA_TEST_OWN_KERNELS";
  const char* const expected = std::getenv(role);
  if (expected != nullptr) {
    const bool own = std::string(expected) == "yes";
    CHECK(cpu::own_kernels_enabled() == own);
    CHECK(KernelEnvironment{}.enabled == own);
    CHECK(gpu::kernels_apply({{first_gpu, at::kBFloat16}}, {.linked = true}) == own);
    return;
  }
  const test::TempDir folder;
  const auto check = [&](std::map<std::string, std::string> environment, const std::string& own) {
    environment[role] = own;
    test::ChildProcess child("LISA_KERNELS=reference leaves everything*", environment, folder / "output");
    CHECK(child.wait(60) == 0);
    CHECK_MESSAGE(child.output().find("1 passed") != std::string::npos, child.output());
  };
  check({{"LISA_KERNELS", "reference"}}, "no");
  check({{"LISA_KERNELS", ""}}, "yes");
  check({{"LISA_KERNELS", "own"}}, "yes");
}

TEST_CASE("an operand records where a gradient is wanted and recording is on") {
  const at::Tensor tensor = test::random_tensor({2}, 1).requires_grad_();
  CHECK(gpu::kernel_operand(tensor).records);
  CHECK((gpu::kernel_operand(tensor).dtype == at::kFloat));
  CHECK(gpu::kernel_operand(tensor).device.is_cpu());
  const at::NoGradGuard none;
  CHECK_FALSE(gpu::kernel_operand(tensor).records);
}

TEST_CASE("tensors on the CPU never reach a GPU's kernel") {
  const c10::InferenceMode inference;
  const at::Tensor projected = test::random_tensor({1, 5, 5, 192}, 1, at::kBFloat16);
  const at::Tensor padding = test::random_tensor({192}, 2, at::kBFloat16);
  const at::Tensor table = test::random_tensor({9, 64}, 3, at::kBFloat16);
  CHECK_FALSE(gpu::relative_attention(projected, padding, table, table, 64, 5).has_value());
  CHECK_FALSE(gpu::mask_row_bits(test::random_tensor({1, 4, 4}, 4), {16, 16, 16, 8, 8}).has_value());
  const at::Tensor heads = projected.view({3, 25, 64}), row = padding.view({1, 192}), bytes = row.to(at::kByte);
  CHECK_FALSE(gpu::causal_attention(heads, heads, heads).has_value());
  CHECK_FALSE(gpu::rms_norm(row, padding, 1e-6).has_value());
  CHECK_FALSE(gpu::add_rms_norm(row, row, padding, 1e-6).has_value());
  CHECK_FALSE(gpu::gemv(row, row).has_value());
  CHECK_FALSE(gpu::gemv(row, bytes).has_value());
  CHECK_FALSE(gpu::gated_gemv(row, row, row).has_value());
}

TEST_CASE("extents that an int does not hold are refused, not wrapped around") {
  CHECK(gpu::kernel_extent(7) == 7);
  CHECK(gpu::kernel_extent((dim{1} << 32) + 7) == std::numeric_limits<int>::max());
}

TEST_CASE("a device that is not there is refused in words") {
  CHECK_NOTHROW(require_device(c10::DeviceType::CPU));
  const auto refusal = [](c10::Device device) -> std::string {
    try {
      require_device(device);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal(c10::DeviceType::MPS) == "device: found \"mps\", expected cpu or cuda[:index]");
  const std::string no_such_gpu = refusal(c10::Device(c10::DeviceType::CUDA, 99));
  CHECK(no_such_gpu.starts_with("device: found \"cuda:99\", expected "));
  if constexpr (!gpu::kernels_linked)
    CHECK(no_such_gpu.ends_with("cpu: this program was built without CUDA (configure with -DLISA_CUDA=ON)"));
}

}  // namespace
