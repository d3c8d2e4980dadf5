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
