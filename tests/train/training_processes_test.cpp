// Whole runs among several processes.
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lisa/train/training_run.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/train/process_roles.hpp"
#include "tests/train/run_spec.hpp"
// After libtorch, whose logging defines CHECK.
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace {

/// A run whose steps take four images, whatever the number of processes. What adapters drop depends on the process, so
/// none train here.
TrainingOutcome train_everything(ProcessGroup& group, const std::filesystem::path& folder, bool sharded) {
  TrainingRunOptions options = run_options(folder);
  options.trainer.parts = everything;
  options.trainer.sharded_states = sharded;
  options.batch = 2 / group.size();
  options.state_sums = false;
  const auto loaded = run_model();
  if (group.rank() == 1) loaded->model.llm.lm_head.weight.add_(1);  // what trains begins as on rank 0
  const DataSet validation = corner_data(5);
  return run_training(*loaded, shuffled(corner_data(10), 3), &validation, options, group);
}

/// A run of the paper's parts with adapters that drop, whose optimiser states are spread over the processes.
/// @param stop_after steps after which rank 1 alone asks to stop; 0: it does not
TrainingOutcome train_in_pieces(ProcessGroup& group, const std::filesystem::path& folder, int stop_after) {
  TrainingRunOptions options = run_options(folder);
  options.trainer.sharded_states = true;
  options.batch = 1;
  int asked = 0;
  if (stop_after > 0 && group.rank() == 1) options.stop = [&] { return asked++ == stop_after; };
  const auto loaded = run_model();
  const DataSet validation = corner_data(4);
  return run_training(*loaded, shuffled(corner_data(10), 3), &validation, options, group);
}

std::vector<double> logged(const std::filesystem::path& folder, const char* field) {
  std::vector<double> values;
  std::istringstream lines(read_text(folder / "log.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (const Json entry = parse_json(line, "log"); entry.contains(field)) values.push_back(entry.at(field));
  return values;
}

/// Largest difference of a group's tensors in two runs' last states, relative to each tensor's largest value. The
/// biases of keys are left out: softmax does not see them, their gradients are rounding noise, which AdamW follows.
double difference(const std::filesystem::path& a, const std::filesystem::path& b, const char* group) {
  const auto one = read_newest_train_state(a / "states"), other = read_newest_train_state(b / "states");
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : other->state.tensors.at(group)) by_name[name] = tensor;
  double worst = 0;
  for (const auto& [name, tensor] : one->state.tensors.at(group)) {
    if (name.ends_with("k_proj.bias") || name.ends_with("qkv.bias")) continue;
    const double scale = std::max(tensor.abs().max().item<double>(), 1e-3);
    worst = std::max(worst, tensor.sub(by_name.at(name)).abs().max().item<double>() / scale);
  }
  return worst;
}

}  // namespace

TEST_CASE("a run of two processes takes the steps of one process with twice the batch") {
  if (const auto folder = variable("TEST_FOLDER"))
    run_role([&](ProcessGroup& group) {
      for (const bool sharded : {false, true}) {
        train_everything(group, std::filesystem::path(*folder) / (sharded ? "sharded" : "whole"), sharded);
        group.barrier();
      }
    });
  const TempDir folder;
  std::vector<ChildProcess> processes =
      start("a run of two processes takes the steps of one process with twice the batch", 2, free_port(), folder,
            [](int) { return Environment{}; });
  for (ChildProcess& process : processes) {
    const bool ended_well = process.wait(end_of_patience) == 0;
    CHECK_MESSAGE(ended_well, process.output());
  }
  SingleProcess single;
  train_everything(single, folder / "single", false);
  const std::vector<double> losses = logged(folder / "single", "loss");
  REQUIRE(losses.size() == 6);
  for (const char* const run : {"whole", "sharded"}) {
    CAPTURE(run);
    const std::vector<double> found = logged(folder / run, "loss");
    REQUIRE(found.size() == losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) CHECK(found[i] == doctest::Approx(losses[i]).epsilon(2e-5));
    CHECK(logged(folder / run, "samples") == std::vector<double>(6, 4));
    CHECK(logged(folder / run, "val_giou").size() == 2);
    // Sums of fp32 in another order; AdamW divides small gradients by their own size.
    CHECK(difference(folder / "single", folder / run, "weights") < 2e-3);
    CHECK(difference(folder / "single", folder / run, "first_moment") < 2e-3);
  }
  CHECK(difference(folder / "whole", folder / "sharded", "weights") == 0);
}

TEST_CASE("two processes that stop and start again go on bit for bit where their spread states were") {
  const std::string name = "two processes that stop and start again go on bit for bit where their spread states were";
  if (const auto folder = variable("TEST_FOLDER"))
    run_role([&](ProcessGroup& group) {
      const int stop_after = std::stoi(*variable("TEST_STOP"));
      const TrainingOutcome outcome = train_in_pieces(group, *folder + *variable("TEST_RUN"), stop_after);
      if (outcome.finished != (outcome.steps == 6)) throw std::runtime_error("ended at another step");
      if (stop_after > 0 && outcome.finished) throw std::runtime_error("did not stop");
    });
  const TempDir folder;
  // New processes each time; a run of six steps that stops after one and after four of them: between states and at one.
  for (const auto& [run, stop_after] : {std::pair{"/whole", 0}, {"/pieces", 1}, {"/pieces", 3}, {"/pieces", 0}}) {
    CAPTURE(run);
    CAPTURE(stop_after);
    std::vector<ChildProcess> processes = start(name, 2, free_port(), folder, [&](int) {
      return Environment{{"TEST_RUN", run}, {"TEST_STOP", std::to_string(stop_after)}};
    });
    for (ChildProcess& process : processes) {
      const bool ended_well = process.wait(end_of_patience) == 0;
      REQUIRE_MESSAGE(ended_well, process.output());
    }
  }
  const std::vector<double> sums = logged(folder / "whole", "state_crc32c");
  REQUIRE(sums.size() == 6);
  CHECK(logged(folder / "pieces", "state_crc32c") == sums);  // of weights and moments after every step
  for (const char* const field : {"loss", "val_giou"})
    CHECK(logged(folder / "pieces", field) == logged(folder / "whole", field));
  const auto whole = read_newest_train_state(folder / "whole/states");
  const auto pieces = read_newest_train_state(folder / "pieces/states");
  REQUIRE(whole->state.tensors.size() == pieces->state.tensors.size());
  for (const auto& [group, tensors] : whole->state.tensors) {
    CAPTURE(group);
    const NamedTensors& others = pieces->state.tensors.at(group);
    REQUIRE(tensors.size() == others.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      CAPTURE(tensors[i].first);
      CHECK(tensors[i].first == others[i].first);
      CHECK(at::equal(tensors[i].second, others[i].second));
    }
  }
  CHECK(whole->state.tensors.at("second_moment").size() == whole->state.tensors.at("weights").size());
}
