#include <iostream>
#include <string_view>

#include "lisa/config/presets.hpp"

// A specification needs no libtorch: its numbers are there, its modules are only named.
struct MyLisa : lisa::Lisa7B {
  static constexpr std::string_view name = "my-lisa";
  static constexpr lisa::SamConfig sam = lisa::sam_vit_b;
};

int main() {
  std::cout << MyLisa::name << ": " << lisa::parameters(MyLisa::llm) + lisa::parameters(MyLisa::sam)
            << " values in language model and SAM\n";
}
