#pragma once

#include <filesystem>
#include <string>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/files/json.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/support/temp_dir.hpp"

namespace lisa::test {

/// The recorded checkpoint taken apart: a LLaVA that has never heard of [SEG], in `llava`, and SAM's own file,
/// `sam.pth`.
inline void write_base_weights(const std::filesystem::path& folder) {
  const TensorArchive whole = read_archive(golden_checkpoint);
  const std::string sam_prefix = "model.visual_model.";
  NamedTensors llava, sam;
  for (const auto& [name, tensor] : whole.tensors) {
    if (name.starts_with(sam_prefix))
      sam.emplace_back(name.substr(sam_prefix.size()), tensor.value);
    else if (name == "model.embed_tokens.weight" || name == "lm_head.weight")
      llava.emplace_back(name, tensor.value.narrow(0, 0, tensor.value.size(0) - 1));  // [SEG] has the last row
    else if (!name.starts_with("model.text_hidden_fcs."))
      llava.emplace_back(name, tensor.value);
  }
  std::filesystem::create_directory(folder / "llava");
  for (const auto& entry : std::filesystem::directory_iterator(golden_checkpoint))
    if (entry.path().extension() != ".bin")
      std::filesystem::copy_file(entry.path(), folder / "llava" / entry.path().filename());
  Json added = read_json(folder / "llava" / "added_tokens.json");
  added.erase("[SEG]");
  write_text(folder / "llava" / "added_tokens.json", added.dump());
  write_torch_file(folder / "llava" / "pytorch_model.bin", llava);
  write_torch_file(folder / "sam.pth", sam);
}

}  // namespace lisa::test
