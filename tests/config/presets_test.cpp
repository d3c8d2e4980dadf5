// torch-free
#include "lisa/config/presets.hpp"

#include <set>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace {

struct WideAdapters : lisa::Lisa13BLlama2 {
  static constexpr std::string_view name = "wide-adapters";
  static constexpr lisa::LoraConfig lora{.rank = 64, .alpha = 128};
};
static_assert(lisa::ModelSpec<WideAdapters>);

struct WithState : lisa::Lisa7B {
  int state = 0;
};
static_assert(!lisa::ModelSpec<WithState>);

struct WithoutNumbers {
  static constexpr std::string_view name = "without-numbers";
};
static_assert(!lisa::ModelSpec<WithoutNumbers>);

// The vocabulary with added tokens: lmsys' LLaMA has 32000 rows; LLaVA adds a padding token and, in the first
// generation, image start and end tokens; LISA adds [SEG].
static_assert(lisa::parameters(lisa::Lisa7B::llm) == 6'738'415'616 + 4 * 2 * 4096);
static_assert(lisa::parameters(lisa::Lisa13BLlama2::llm) == 13'015'864'320 + 3 * 2 * 5120);
static_assert(lisa::visual_tokens(lisa::Lisa7BLlava15::vision) == 576);

/// Gigabytes of a checkpoint as LISA publishes it: language model and visual projector in bf16, SAM and text_hidden_fcs
/// in fp32, the vision tower left out.
template <lisa::ModelSpec S>
constexpr double published_gigabytes =
    1e-9 * static_cast<double>(
               2 * (lisa::parameters(S::llm) + lisa::parameters(S::vision.hidden, S::llm.hidden, S::visual_projector)) +
               4 * (lisa::parameters(S::sam) + lisa::parameters(S::llm.hidden, S::sam.prompt_dim, S::seg)));

constexpr bool near(double gigabytes, double published) {
  return gigabytes > published - 0.015 && gigabytes < published + 0.015;
}
// The files of xinlai/LISA-7B-v1 and xinlai/LISA-13B-llama2-v1, whose sizes the model pages give to 0.01 GB.
static_assert(near(published_gigabytes<lisa::Lisa7B>, 9.98 + 6.14));
static_assert(near(published_gigabytes<lisa::Lisa13BLlama2>, 9.95 + 9.90 + 8.86));

}  // namespace

TEST_CASE("presets have names of their own and are found by them") {
  std::set<std::string> names;
  int presets = 0;
  lisa::for_each_preset([&]<class Spec>() {
    static_assert(lisa::ModelSpec<Spec>);
    ++presets;
    names.emplace(Spec::name);
    std::string_view visited;
    CHECK(lisa::visit_preset(Spec::name, [&]<class Found>() { visited = Found::name; }));
    CHECK(visited == Spec::name);
  });
  CHECK(presets >= 5);
  CHECK(names.size() == static_cast<std::size_t>(presets));
}

TEST_CASE("an unknown name visits nothing") {
  bool visited = false;
  CHECK_FALSE(lisa::visit_preset("lisa-70b", [&]<class>() { visited = true; }));
  CHECK_FALSE(visited);
}
