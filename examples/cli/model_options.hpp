#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "spec_entry.hpp"

namespace lisa::program {

/// The options that say which model to load and how; shared by every command that answers questions.
struct ModelOptions {
  std::string model;
  std::string vision_tower;
  std::string sam;
  std::string adapter;
  bool separate_adapter = false;
  std::string conversation = "llava_v1";
  std::string dtype = "stored";
  bool fp32_positional_encoding = false;
  std::string device = "cpu";
  std::string spec;
  bool skip_crc = false;
  bool check_finite = false;
  int threads = 0;
};

/// @param required  whether the command cannot do without a checkpoint
void add_model_options(CLI::App& command, ModelOptions& options, bool required = true);

/// The specification to load a checkpoint with: the named one, or the one whose numbers the checkpoint has.
/// @throws InputError for an unknown name; MismatchError naming the closest one's differences when none fits
[[nodiscard]] SpecEntry choose_spec(const ModelOptions& options);

/// How the options ask for a model to be loaded. @throws InputError for a device or dtype that is none, and for a
/// device that this machine or this program lacks
[[nodiscard]] LoadOptions load_options(const ModelOptions& options);

/// Loads the model: the specification is the one that the checkpoint fits, or the one named.
/// @throws Error  as `lisa::load`; MismatchError naming the closest specification's differences when none fits
[[nodiscard]] std::unique_ptr<ModelSession> open_model(const ModelOptions& options);

/// How answers are generated; shared by the same commands.
struct AnswerOptions {
  int max_new_tokens = 512;
  double temperature = 0;
  double top_p = 1;
  int top_k = 0;
  std::uint64_t seed = 0;
  std::string segmentation = "automatic";
  std::vector<std::string> stop;
  std::vector<std::string> drafts;
  bool no_drafts = false;
};

/// What is kept of images that are asked about again.
struct ImageMemoryOptions {
  double megabytes = 512;
  std::string folder;
};

void add_image_memory_options(CLI::App& command, ImageMemoryOptions& options);

/// @throws IoError when the folder cannot be made
void keep_images(ModelSession& session, const ImageMemoryOptions& options);

void add_answer_options(CLI::App& command, AnswerOptions& options);

/// @throws InputError for values out of range
[[nodiscard]] AskOptions ask_options(const AnswerOptions& options);

}  // namespace lisa::program
