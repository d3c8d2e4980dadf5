#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lisa/checkpoint/save.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/random_parameters.hpp"
#include "tests/support/temp_dir.hpp"

namespace lisa::test {

/// PEFT's folder for GoldenSpec's adapters, with random matrices.
inline void write_golden_adapter(const std::filesystem::path& folder, double alpha, const std::string& infix = "") {
  std::filesystem::create_directories(folder);
  write_text(folder / "adapter_config.json",
             R"({"peft_type": "LORA", "r": 8, "lora_alpha": )" + std::to_string(alpha) +
                 R"(, "lora_dropout": 0.05, "bias": "none", "target_modules": ["q_proj", "v_proj"]})");
  NamedTensors tensors;
  std::uint64_t seed = 1;
  for (dim layer = 0; layer < GoldenSpec::llm.layers; ++layer)
    for (const char* projection : {"q_proj", "v_proj"}) {
      const std::string name =
          "base_model.model.model.layers." + std::to_string(layer) + ".self_attn." + projection + ".lora_";
      tensors.emplace_back(name + "A" + infix + ".weight", random_tensor({8, 64}, seed++).mul(0.1));
      tensors.emplace_back(name + "B" + infix + ".weight", random_tensor({64, 8}, seed++).mul(0.1));
    }
  write_safetensors(folder / "adapter_model.safetensors", tensors);
}

}  // namespace lisa::test
