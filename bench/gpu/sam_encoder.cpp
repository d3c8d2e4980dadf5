// SAM's ViT-H encoder at one picture in bf16, whole and one block of each kind: the library, the same in ATen's
// operators with SDPA and its bias as one dense mask, which is built for each call, and the published algorithm.
#include <string>
#include <vector>

#include "bench/gpu/sam_work.hpp"
#include "bench/gpu/timing.hpp"

namespace lisa::gpu_bench {
namespace {

/// @param run `run()` for the library's way, `run(how)` for a plain one
template <class Run>
void compare(const std::string& name, const Run& run) {
  compare_times(name, {{"lisa", [&] { static_cast<void>(run()); }},
                       {"ATen SDPA, dense bias built", [&] { static_cast<void>(run(PlainAttention::dense_bias)); }},
                       {"the original's operators", [&] { static_cast<void>(run(PlainAttention::scores)); }}});
}

}  // namespace

void bench_sam_encoder() {
  const SamWork<sam_vit_h> work(at::kCUDA);
  const auto block = [&](const std::string& name, dim layer) {
    work.require_outputs(name, layer);
    compare(name, [&](auto... how) { return work.block(layer, how...); });
  };
  static_assert(attention_side(sam_vit_h, 0) == 14 && attention_side(sam_vit_h, 7) == grid(sam_vit_h));
  block("SAM-H, a window block, bf16", 0);
  block("SAM-H, a global block, bf16", 7);
  const std::string name = "SAM-H, whole encoder, 1 picture, bf16";
  work.require_outputs(name);
  compare(name, [&](auto... how) { return work.whole(how...); });
}

}  // namespace lisa::gpu_bench
