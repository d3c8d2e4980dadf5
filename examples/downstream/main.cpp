#include <iostream>
#include <string_view>

#include "lisa/config/presets.hpp"
#include "lisa/nn/linear.hpp"

// A variant: LISA-7B with larger adapters on the smallest SAM.
struct MyLisa : lisa::Lisa7B {
  static constexpr std::string_view name = "my-lisa";
  static constexpr lisa::LoraConfig lora{.rank = 64, .alpha = 128};
  static constexpr lisa::SamConfig sam = lisa::sam_vit_b;
};
static_assert(lisa::ModelSpec<MyLisa>);

int main() {
  const lisa::Linear<4, 2> linear{};
  std::cout << MyLisa::name << ": " << lisa::parameters(MyLisa::llm, MyLisa::lora) << " adapter parameters, a layer of "
            << linear.parameter_count << '\n';
}
