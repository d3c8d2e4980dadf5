#include "lisa/gpu/causal_attention_gradient.hpp"

#include <c10/core/InferenceMode.h>

#include <string>
#include <vector>

#include "lisa/train/causal_row_attention.hpp"
#include "tests/gpu/checks.hpp"
#include "tests/support/causal_row_case.hpp"

namespace lisa::gpu_test {
namespace {

struct Case {
  const char* name;
  std::vector<BranchedItem> items;
  dim heads, kv_heads, head_dim;
};

const Case cases[] = {
    {"one sequence", {{.trunk = 65, .branches = {}}}, 2, 2, 64},
    {"sequences of different lengths",
     {{.trunk = 40, .branches = {30}}, {.trunk = 5, .branches = {}}, {.trunk = 129, .branches = {}}},
     6,
     2,
     128},
    {"LLaMA-7B, two dialogues", {{.trunk = 340, .branches = {}}, {.trunk = 317, .branches = {}}}, 32, 32, 128},
};

void check(Checks& checks, const Case& c, at::ScalarType dtype, double unit) {
  const std::string name =
      std::string("causal attention's gradient, ") + c.name + ", " + std::string(c10::toString(dtype));
  const auto rows = test::CausalRowCase::make(c.items, c.heads, c.kv_heads, c.head_dim,
                                              at::TensorOptions().dtype(dtype).device(at::kCUDA));
  checks.equal(name + ": taken by the kernels",
               gpu::causal_row_kernels_apply(c.heads, c.kv_heads, c.head_dim, rows.query.options()));
  const RowAttention attend = lisa::detail::causal_row_attention_by<gpu::CausalRowKernels>(rows.rows);
  checks.within(name, rows.largest_error(attend), test::causal_row_bound(unit));
  checks.equal(name + ", padding", rows.largest_in_padding(attend) == 0);
}

}  // namespace

void check_causal_attention_gradient(Checks& checks) {
  const c10::InferenceMode gradients(false);
  for (const Case& c : cases) {
    check(checks, c, at::kBFloat16, 0x1p-8);
    check(checks, c, at::kHalf, 0x1p-11);
  }
}

}  // namespace lisa::gpu_test
