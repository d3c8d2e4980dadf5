// `lisa start`: LLaVA's and SAM's base weights become a checkpoint to train from.
#include <ATen/ops/equal.h>

#include <filesystem>
#include <map>
#include <string>

#include "tests/model/golden_spec.hpp"
#include "tests/program/base_weights.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace fs = std::filesystem;

TEST_CASE("base weights become a checkpoint with [SEG], a fresh projection for it, and everything else as it was") {
  const TempDir folder;
  write_base_weights(folder.path());
  const ProgramRun run = run_program(
      LISA_PROGRAM, {"start", "--llava", folder / "llava", "--sam", folder / "sam.pth", "--output", folder / "start"});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  CHECK(run.out.find("4 of the [SEG] projection and 1 rows") != std::string::npos);
  const LoadedModel<GoldenSpec> loaded =
      load<GoldenSpec>((folder / "start").string(), golden_options(Precision::stored));
  const LoadedModel<GoldenSpec> original = load<GoldenSpec>(golden_checkpoint, golden_options(Precision::stored));
  CHECK(loaded.tokenizer.seg() == original.tokenizer.seg());
  const auto rows = original.model.llm.lm_head.weight.size(0) - 1;
  CHECK(at::equal(loaded.model.llm.lm_head.weight.narrow(0, 0, rows),
                  original.model.llm.lm_head.weight.narrow(0, 0, rows)));
  CHECK(loaded.model.llm.lm_head.weight[rows].abs().sum().item<double>() > 0);
  std::map<std::string, at::Tensor> before;
  Lisa<GoldenSpec> kept = original.model, made = loaded.model;
  const auto each = [](Lisa<GoldenSpec>& model, auto&& visit) {
    model.for_each_part([&](Part part, auto& module, const std::string& prefix) {
      module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& value, const Shape&) {
        if (part != Part::seg_projector && name != "model.embed_tokens.weight" && name != "lm_head.weight")
          visit(name, value);
      });
    });
  };
  each(kept, [&](const std::string& name, at::Tensor& value) { before[name] = value; });
  each(made, [&](const std::string& name, at::Tensor& value) {
    CAPTURE(name);
    CHECK(at::equal(before.at(name), value));
  });
}

TEST_CASE("base weights that lack a part are refused by name, and nothing is written") {
  const TempDir folder;
  write_base_weights(folder.path());
  const ProgramRun run = run_program(LISA_PROGRAM, {"start", "--llava", folder / "sam.pth", "--sam", folder / "sam.pth",
                                                    "--output", folder / "start"});
  CHECK(run.exit_code != 0);
  CHECK(run.err.find("model.embed_tokens.weight: missing") != std::string::npos);
  CHECK(!fs::exists(folder / "start"));
}
