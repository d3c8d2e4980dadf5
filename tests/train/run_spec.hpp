#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/config/presets.hpp"
#include "lisa/data/label_mask.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/image/image.hpp"
#include "lisa/model/loaded_model.hpp"
#include "lisa/text/tokenizer_files.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/training_run.hpp"
#include "lisa/train/training_run_options.hpp"

namespace lisa::test {

/// A model of 24 pixels that speaks through the recorded tokenizer; adapters with dropout.
struct RunSpec : Lisa7B {
  static constexpr std::string_view name = "run";
  static constexpr LlamaConfig llm{
      .vocab = 704, .hidden = 16, .mlp = 24, .layers = 2, .heads = 2, .kv_heads = 2, .context = 160};
  static constexpr LoraConfig lora{.rank = 2, .alpha = 4, .dropout = 0.1};
  static constexpr ClipConfig vision{
      .image = 24, .patch = 8, .hidden = 16, .mlp = 24, .layers = 2, .heads = 2, .feature_layer = -1};
  static constexpr SamConfig sam{.image = 24,
                                 .patch = 4,
                                 .hidden = 16,
                                 .mlp = 24,
                                 .layers = 2,
                                 .heads = 2,
                                 .window = 4,
                                 .global_blocks = {1},
                                 .prompt_dim = 16,
                                 .decoder_heads = 2,
                                 .decoder_mlp = 24,
                                 .iou_head_hidden = 16};
  static constexpr MlpConfig seg{.hidden = 16, .layers = 2};
  static constexpr MlpConfig visual_projector{.hidden = 16, .layers = 1};
};

}  // namespace lisa::test

// Compiled once for all tests, in run_spec_instances.cpp.
extern template lisa::TrainingOutcome lisa::run_training<lisa::test::RunSpec>(lisa::LoadedModel<lisa::test::RunSpec>&,
                                                                              lisa::SampleSource, const lisa::DataSet*,
                                                                              const lisa::TrainingRunOptions&,
                                                                              lisa::ProcessGroup&,
                                                                              const lisa::TrainingObserver&);

namespace lisa::test {

inline constexpr const char* run_tokenizer = LISA_TEST_DATA "/golden/model_a";

/// The model with first values of a seed, adapters included.
inline std::unique_ptr<LoadedModel<RunSpec>> run_model(std::uint64_t seed = 7) {
  auto loaded = std::make_unique<LoadedModel<RunSpec>>(load_tokenizer(run_tokenizer));
  static_cast<void>(initialise_missing(loaded->model, seed));
  static_cast<void>(initialise_adapters(loaded->model, seed));
  return loaded;
}

/// Pictures with a bright square in one of four corners, asked for in one of two wordings. `broken`: an index that
/// cannot be read.
inline DataSet corner_data(std::size_t size, std::int64_t broken = -1) {
  return {"corners", size, [broken](std::size_t index, Random& random) {
            if (static_cast<std::int64_t>(index) == broken)
              throw FormatError("corner" + std::to_string(index) + ".png", "", "found no picture, expected one");
            constexpr int side = 24, square = 10;
            Sample sample{"corner" + std::to_string(index), make_image({side, side}), {}};
            LabelMask mask = empty_label_mask(sample.image.size());
            const int left = index % 2 == 0 ? 1 : 13, top = index / 2 % 2 == 0 ? 1 : 13;
            for (int y = top; y < top + square; ++y)
              for (int x = left; x < left + square; ++x) {
                for (int c = 0; c < 3; ++c) sample.image.row(y)[3 * x + c] = static_cast<std::uint8_t>(220 - 40 * c);
                mask.labels[static_cast<std::size_t>(y * side + x)] = 1;
              }
            const std::string question = random.chance(0.5) ? "Where is the square?" : "What is bright?";
            sample.dialogues.push_back({{{question, "It is [SEG]."}}, {std::move(mask)}, "corner"});
            sample.dialogues.push_back({{{"Is there a square?", "Sure."}}, {}, "words"});
            return sample;
          }};
}

/// Six steps of two micro-batches with two images.
inline TrainingRunOptions run_options(const std::filesystem::path& folder) {
  TrainingRunOptions options;
  options.folder = folder;
  options.batch = 2;
  options.accumulation = 2;
  options.steps_per_epoch = 4;
  options.save_every = 2;
  options.loader.threads = 1;
  options.state_sums = true;
  options.trainer.schedule = {.peak = 3e-3, .warmup = 2, .total = 6};
  options.trainer.seed = 5;
  return options;
}

}  // namespace lisa::test
