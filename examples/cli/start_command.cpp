#include "start_command.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/side_files.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/text/seg_mark.hpp"
#include "lisa/train/initialise.hpp"
#include "staged_folder.hpp"
#include "tensor_options.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

namespace fs = std::filesystem;

struct StartOptions {
  std::string llava;
  std::string sam;
  std::string output;
  std::uint64_t seed = 1;
  TensorFileChoice files{.format = "safetensors"};
};

constexpr std::array<const char*, 2> tables{"model.embed_tokens.weight", "lm_head.weight"};

/// The base weights by the names of a LISA checkpoint, while their files are mapped.
struct BaseWeights {
  TensorArchive llava, sam;
  std::map<std::string, at::Tensor> tensors;

  [[nodiscard]] const at::Tensor& at(const std::string& name, const std::string& file) const {
    const auto found = tensors.find(name);
    if (found == tensors.end())
      throw MismatchError(printable(file), printable(name), "missing, expected a tensor of the base weights");
    return found->second;
  }
};

BaseWeights read_base_weights(const StartOptions& options) {
  BaseWeights base{read_archive(options.llava), read_archive(options.sam), {}};
  for (const auto& [name, tensor] : base.llava.tensors) {
    const std::string canonical = canonical_name(name);
    // The vision tower has a folder of its own, which every run is told or config.json names.
    if (!canonical.starts_with("model.vision_tower.")) base.tensors.emplace(canonical, tensor.value);
  }
  for (const auto& [name, tensor] : base.sam.tensors)
    base.tensors.emplace("model.visual_model." + canonical_name(name), tensor.value);
  return base;
}

/// The tokens that LISA adds, in its order (train_ds.py), and ids for those that the base does not know yet.
Json with_lisa_tokens(const fs::path& folder, std::int64_t& rows) {
  std::error_code ignored;
  const fs::path path = folder / "added_tokens.json";
  Json added = fs::exists(path, ignored) ? read_json(path) : Json::object();
  if (!added.is_object()) throw FormatError(shown_path(path), "", "found no object, expected tokens with their ids");
  for (const std::string_view token : {seg_mark, std::string_view("<im_start>"), std::string_view("<im_end>")})
    if (!added.contains(token)) added[std::string(token)] = rows++;
  return added;
}

/// A table of the vocabulary with rows for tokens behind its own: normal with 0.02, as transformers resizes LLaMA's.
at::Tensor with_rows(const std::string& name, const at::Tensor& table, std::int64_t rows, std::uint64_t seed) {
  if (table.size(0) == rows) return table;
  const at::Tensor fresh = initial_values({InitialDistribution::Kind::normal, 0.02},
                                          {rows - table.size(0), table.size(1)}, seed, name, table.options());
  return at::cat({table, fresh});
}

/// The [SEG] projection, which no base has: the default first values of PyTorch's layers (LISA model/LISA.py).
std::vector<std::string> add_seg_projection(BaseWeights& base, const StartOptions& options) {
  const std::int64_t hidden = base.at(tables[0], options.llava).size(1);
  const std::int64_t prompt = base.at("model.visual_model.mask_decoder.iou_token.weight", options.sam).size(1);
  std::vector<std::string> names;
  for (const auto& [layer, out] : {std::pair{"0", hidden}, std::pair{"2", prompt}})
    for (const auto& [part, shape] : {std::pair{".weight", Shape{out, hidden}}, std::pair{".bias", Shape{out}}}) {
      const std::string name = "model.text_hidden_fcs.0." + std::string(layer) + part;
      base.tensors[name] = initial_values(initial_distribution(name, shape), shape, options.seed, name,
                                          at::device(at::kCPU).dtype(at::kFloat));
      names.push_back(name);
    }
  return names;
}

void write_config(const fs::path& from, const fs::path& to, std::int64_t rows, std::int64_t prompt_dim) {
  Json config = read_json(from / "config.json");
  if (!config.is_object()) throw FormatError(shown_path(from / "config.json"), "", "found no object, expected one");
  config["architectures"] = {"LISAForCausalLM"};
  config["vocab_size"] = rows;
  config["out_dim"] = prompt_dim;
  config["train_mask_decoder"] = true;
  config["mm_use_im_start_end"] = true;
  write_file(to / "config.json", config.dump(2) + "\n");
}

void start(const StartOptions& options) {
  const TensorFileFormat format = parse_tensor_file_format(options.files.format);
  const std::uint64_t max_shard_bytes = parse_byte_size(options.files.max_shard_size);
  BaseWeights base = read_base_weights(options);
  std::int64_t rows = base.at(tables[0], options.llava).size(0);
  const std::int64_t base_rows = rows;
  const Json added = with_lisa_tokens(options.llava, rows);
  for (const char* const name : tables)
    base.tensors[name] = with_rows(name, base.at(name, options.llava), rows, options.seed);
  const std::vector<std::string> fresh = add_seg_projection(base, options);

  StagedFolder folder(options.output);
  copy_side_files(options.llava, folder.path());
  write_file(folder.path() / "added_tokens.json", added.dump(2) + "\n");
  write_config(options.llava, folder.path(), rows, base.tensors.at(fresh.back()).size(0));
  std::vector<StoredTensor> tensors;
  for (const auto& [name, value] : base.tensors) tensors.push_back(describe(name, value));
  Progress progress("tensors written", tensors.size());
  std::size_t done = 0;
  write_sharded_tensors(folder.path(), tensors, format, max_shard_bytes, [&](const StoredTensor& wanted) {
    progress.update(++done, printable(wanted.name));
    return base.tensors.at(wanted.name);
  });
  base.llava.require_intact();
  base.sam.require_intact();
  folder.commit();
  std::cout << printable(options.output, 4096) << ": " << tensors.size() << " tensors; random first values for "
            << fresh.size() << " of the [SEG] projection and " << rows - base_rows
            << " rows of each vocabulary table\n";
}

}  // namespace

void add_start_command(CLI::App& app) {
  const auto options = std::make_shared<StartOptions>();
  CLI::App* command = app.add_subcommand("start", "Make a checkpoint to train from out of LLaVA's and SAM's weights");
  command->add_option("--llava", options->llava, "LLaVA checkpoint folder")->required();
  command->add_option("--sam", options->sam, "SAM's own .pth")->required();
  command->add_option("--output", options->output, "folder to write; new or empty")->required();
  command->add_option("--seed", options->seed, "of the values that neither has")->capture_default_str();
  add_tensor_file_options(*command, options->files);
  command->footer(
      "Example:\n  lisa start --llava LLaVA-Lightning-7B-v1-1 --sam sam_vit_h_4b8939.pth --output start\n"
      "  lisa train --model start --vision-tower clip-vit-large-patch14 --data dataset");
  command->callback([options] { start(*options); });
}

}  // namespace lisa::program
