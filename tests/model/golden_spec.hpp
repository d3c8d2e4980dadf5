#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "lisa/checkpoint/save.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/model/load.hpp"
#include "lisa/model/predictor.hpp"
#include "tests/support/golden.hpp"

namespace lisa::test {

/// The recorded model: tests/golden/model_a with the vision tower tests/golden/clip_a.
struct GoldenSpec : Lisa7B {
  static constexpr std::string_view name = "golden";
  static constexpr LlamaConfig llm{.vocab = 704, .hidden = 64, .mlp = 176, .layers = 3, .heads = 4, .kv_heads = 4};
  static constexpr ClipConfig vision = golden_clip;
  static constexpr SamConfig sam = golden_sam;
  static constexpr MlpConfig seg{.hidden = 64};
  static constexpr MlpConfig visual_projector{.hidden = 64, .layers = 1};
};

}  // namespace lisa::test

// Compiled once for all tests, in golden_spec_instances.cpp.
extern template lisa::LoadedModel<lisa::test::GoldenSpec> lisa::load<lisa::test::GoldenSpec>(const std::string&,
                                                                                             const lisa::LoadOptions&);
extern template class lisa::Predictor<lisa::test::GoldenSpec>;

namespace lisa::test {

inline const std::string golden_folder = LISA_TEST_DATA "/golden/";
inline const std::string golden_checkpoint = golden_folder + "model_a";
inline const std::string golden_tower = golden_folder + "clip_a";

[[nodiscard]] inline LoadOptions golden_options(Precision precision = Precision::fp32) {
  return {.vision_tower = golden_tower, .precision = precision};
}

/// The recorded model in fp32, loaded once.
[[nodiscard]] inline const LoadedModel<GoldenSpec>& golden_model() {
  static const LoadedModel<GoldenSpec> model = load<GoldenSpec>(golden_checkpoint, golden_options());
  return model;
}

/// A recorded answer of the original: "a1" has one `[SEG]`, "a2" three, "a3" none.
struct GoldenCase {
  explicit GoldenCase(const std::string& id)
      : name(id),
        image(read_image(golden_folder + id + "/" + id + ".png")),
        json(read_json(golden_folder + id + "/" + id + ".json")),
        question(json.at("question").get<std::string>()),
        tensors(golden_tensors(id + "/" + id + ".safetensors")) {}

  std::string name;
  Image image;
  Json json;
  std::string question;
  std::map<std::string, at::Tensor> tensors;
};

/// A tensor of a trace; throws where it is absent.
[[nodiscard]] inline const at::Tensor& traced(const AnswerTrace& trace, std::string_view name) {
  for (const auto& [known, tensor] : trace)
    if (known == name) return tensor;
  throw std::runtime_error("absent from the trace: " + std::string(name));
}

/// Writes a folder like tests/golden/model_a that holds other tensors.
inline void write_golden_checkpoint(const std::filesystem::path& folder,
                                    const std::map<std::string, at::Tensor>& tensors,
                                    TensorFileFormat format = TensorFileFormat::torch_zip,
                                    std::uint64_t max_shard_bytes = std::numeric_limits<std::uint64_t>::max()) {
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator(golden_checkpoint))
    if (entry.path().extension() != ".bin") std::filesystem::copy_file(entry.path(), folder / entry.path().filename());
  std::vector<StoredTensor> described;
  for (const auto& [name, tensor] : tensors) described.push_back(describe(name, tensor));
  write_sharded_tensors(folder, described, format, max_shard_bytes,
                        [&](const StoredTensor& wanted) { return tensors.at(wanted.name); });
}

}  // namespace lisa::test
