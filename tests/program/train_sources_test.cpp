// `lisa train` from where a run can begin beside a whole checkpoint: LLaVA and SAM, and a LoRA adapter.

#include <ATen/ops/equal.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/files/json.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/write_png.hpp"
#include "lisa/train/train_state_store.hpp"
#include "tests/model/golden_adapter.hpp"
#include "tests/model/golden_spec.hpp"
#include "tests/program/base_weights.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

/// Two pictures with a bright square, which is asked for.
fs::path write_squares(const fs::path& folder) {
  constexpr int width = 80, height = 60, side = 24;
  std::string lines;
  for (const int left : {6, 44}) {
    Image image = make_image({height, width});
    for (int y = 18; y < 18 + side; ++y)
      for (int x = left; x < left + side; ++x)
        for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] = 230;
    const std::string name = "square" + std::to_string(left) + ".png";
    write_png((folder / name).string(), image);
    const int right = left + side;
    lines += Json{{"image", name},
                  {"question", "Where is the square?"},
                  {"answer", "It is [SEG]."},
                  {"masks", {{{left, 18, right, 18, right, 18 + side, left, 18 + side}}}}}
                 .dump() +
             "\n";
  }
  write_text(folder / "squares.jsonl", lines);
  return folder / "squares.jsonl";
}

/// What a run left behind.
struct TrainedRun {
  std::string out;
  std::vector<double> losses;  ///< of each step
  Tensors weights;             ///< that train, adapters among them, after the last step
  fs::path checkpoint;
};

/// The command that trains the paper's parts: adapters, both tables of the vocabulary, [SEG] projection, mask decoder.
std::vector<std::string> arguments_of(const fs::path& folder, const fs::path& data, double rate, int steps,
                                      const std::vector<std::string>& from) {
  std::vector<std::string> arguments{"train", "--vision-tower", golden_tower, "--dtype", "fp32"};
  arguments.insert(arguments.end(), from.begin(), from.end());
  for (const auto& [option, value] : {std::pair<const char*, std::string>{"--data", data},
                                      {"--output", folder},
                                      {"--steps", std::to_string(steps)},
                                      {"--batch", "2"},
                                      {"--accumulation", "1"},
                                      {"--warmup", "2"},
                                      {"--decay", "constant"},
                                      {"--learning-rate", std::to_string(rate)},
                                      {"--workers", "1"},
                                      {"--threads", "1"}}) {
    arguments.emplace_back(option);
    arguments.push_back(value);
  }
  return arguments;
}

TrainedRun train(const fs::path& folder, const fs::path& data, double rate, int steps,
                 const std::vector<std::string>& from) {
  const std::vector<std::string> arguments = arguments_of(folder, data, rate, steps, from);
  const ProgramRun run = run_program(LISA_PROGRAM, arguments);
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  TrainedRun trained{run.out, {}, {}, folder / "checkpoint"};
  std::istringstream lines(read_text(folder / "log.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (const Json entry = parse_json(line, "log"); entry.contains("loss")) trained.losses.push_back(entry.at("loss"));
  REQUIRE(trained.losses.size() == static_cast<std::size_t>(steps));
  const std::optional<NewestState> newest = read_newest_train_state(folder / "states");
  REQUIRE(newest.has_value());
  for (const auto& [name, tensor] : newest->state.tensors.at("weights")) trained.weights[name] = tensor;
  return trained;
}

/// A checkpoint's tensors in fp32; with an adapter, folded in.
Tensors tensors_of(const fs::path& folder, const std::string& adapter = {}) {
  LoadOptions options = golden_options();
  options.adapter = adapter;
  LoadedModel<GoldenSpec> loaded = load<GoldenSpec>(folder.string(), options);
  Tensors tensors;
  loaded.model.for_each_part([&](Part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix,
                              [&](const std::string& name, at::Tensor& value, const Shape&) { tensors[name] = value; });
  });
  return tensors;
}

/// Names of the tensors that are not bit for bit the same.
std::vector<std::string> changed(const Tensors& before, const Tensors& after) {
  REQUIRE(before.size() == after.size());
  std::vector<std::string> names;
  for (const auto& [name, tensor] : before)
    if (!at::equal(tensor, after.at(name))) names.push_back(name);
  return names;
}

bool is_adapted(const std::string& name) {
  return name.ends_with("self_attn.q_proj.weight") || name.ends_with("self_attn.v_proj.weight");
}

/// Whether the paper's recipe trains a tensor of a checkpoint.
bool trains(const std::string& name) {
  return is_adapted(name) || name == "lm_head.weight" || name == "model.embed_tokens.weight" ||
         name.starts_with("model.text_hidden_fcs.") || name.starts_with("model.visual_model.mask_decoder.");
}

/// A run of twelve steps must have learnt its two pictures, moving what trains and nothing else.
void check_learnt(const TrainedRun& run, const Tensors& before) {
  MESSAGE("loss " << run.losses.front() << ", then " << run.losses.back());
  CHECK(run.losses.back() < 0.5 * run.losses.front());
  std::map<std::string, int> moved;
  for (const std::string& name : changed(before, tensors_of(run.checkpoint))) {
    CAPTURE(name);
    CHECK(trains(name));
    ++moved[name.substr(0, name.find('.', name.find('.') + 1))];
  }
  for (const char* const part : {"lm_head.weight", "model.embed_tokens", "model.text_hidden_fcs", "model.visual_model"})
    CHECK_MESSAGE(moved[part] > 0, part);
  CHECK(moved["model.layers"] == 2 * GoldenSpec::llm.layers);
}

constexpr double rate = 3e-3;
constexpr int steps = 12;

}  // namespace

TEST_CASE("what lisa start writes trains: its values are the first ones, its heads too, and the loss falls") {
  const TempDir folder;
  write_base_weights(folder.path());
  const ProgramRun start = run_program(
      LISA_PROGRAM, {"start", "--llava", folder / "llava", "--sam", folder / "sam.pth", "--output", folder / "start"});
  REQUIRE_MESSAGE(start.exit_code == 0, start.err);
  const fs::path data = write_squares(folder.path());
  const Tensors before = tensors_of(folder / "start");

  // A rate of zero shows where a run begins: fresh adapters add nothing.
  const TrainedRun still = train(folder / "still", data, 0, 1, {"--model", folder / "start"});
  CHECK(still.out.find("12 tensors begin with random values") != std::string::npos);
  CHECK(changed(before, tensors_of(still.checkpoint)).empty());

  const TrainedRun run = train(folder / "run", data, rate, steps, {"--model", folder / "start"});
  CHECK(run.losses.front() == still.losses.front());
  check_learnt(run, before);
}

TEST_CASE("a run from an adapter begins with its values beside the checkpoint's heads, and the loss falls") {
  const TempDir folder;
  write_golden_adapter(folder / "adapter", 16);
  const fs::path data = write_squares(folder.path());
  const std::vector<std::string> adapted{"--model", golden_checkpoint, "--adapter", folder / "adapter"};
  const Tensors without = tensors_of(golden_checkpoint), before = tensors_of(golden_checkpoint, folder / "adapter");
  CHECK(changed(without, before).size() == 2 * GoldenSpec::llm.layers);

  const TrainedRun still = train(folder / "still", data, 0, 1, adapted);
  CHECK(still.out.find("random values") == std::string::npos);
  std::size_t adapters = 0;
  const TensorArchive file = read_archive((folder / "adapter").string());
  for (const auto& [name, tensor] : still.weights) {
    CAPTURE(name);
    if (const auto given = file.tensors.find("base_model.model." + name); given != file.tensors.end()) {
      ++adapters;
      CHECK(at::equal(tensor, given->second.value));
    } else {
      CHECK(at::equal(tensor, without.at(name)));
    }
  }
  CHECK(adapters == file.tensors.size());
  CHECK(changed(before, tensors_of(still.checkpoint)).empty());  // folded in as `lisa segment --adapter` has it

  // The first step already counts with the adapter.
  const TrainedRun plain = train(folder / "plain", data, 0, 1, {"--model", golden_checkpoint});
  CHECK(plain.losses.front() != doctest::Approx(still.losses.front()).epsilon(1e-3));

  const TrainedRun run = train(folder / "run", data, rate, steps, adapted);
  CHECK(run.losses.front() == still.losses.front());
  check_learnt(run, before);

  // What a run goes on from is the adapter's affair too.
  const ProgramRun other =
      run_program(LISA_PROGRAM, arguments_of(folder / "run", data, rate, steps, {"--model", golden_checkpoint}));
  CHECK(other.exit_code == 5);
  CHECK_MESSAGE(other.err.find("model: found ") != std::string::npos, other.err);
  CHECK(other.err.find(", adapter ") != std::string::npos);
}
