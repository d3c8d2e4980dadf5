#include <iostream>
#include <string>
#include <string_view>

#include "lisa/model/lisa_model.hpp"

// A variant: larger adapters on the smallest SAM, and a [SEG] projection of one's own.
template <lisa::dim In, lisa::dim Out>
struct OneLayerSegProjector : lisa::Linear<In, Out> {};

struct MyLisa : lisa::Lisa7B {
  static constexpr std::string_view name = "my-lisa";
  static constexpr lisa::LoraConfig lora{.rank = 64, .alpha = 128};
  static constexpr lisa::SamConfig sam = lisa::sam_vit_b;
  template <class S>
  using SegProjector = OneLayerSegProjector<S::llm.hidden, S::sam.prompt_dim>;
};

int main() {
  lisa::Lisa<MyLisa> model;
  lisa::dim tensors = 0;
  lisa::dim values = 0;
  model.for_each_part([&](lisa::Part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix, [&](const std::string&, at::Tensor&, const lisa::Shape& shape) {
      lisa::dim size = 1;
      for (const lisa::dim extent : shape) size *= extent;
      values += size;
      ++tensors;
    });
  });
  std::cout << MyLisa::name << ": " << values << " values in " << tensors << " tensors, " << model.visual_tokens
            << " visual tokens\n";
}
