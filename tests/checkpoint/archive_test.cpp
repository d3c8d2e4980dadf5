#include "lisa/checkpoint/archive.hpp"

#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

namespace {

const std::string golden = LISA_TEST_DATA "/golden";

}  // namespace

TEST_CASE("the recorded checkpoints are read with their names, shapes and dtypes") {
  const lisa::TensorArchive model = lisa::read_archive(golden + "/model_a");
  CHECK(model.tensors.size() == 241);
  CHECK(model.warnings.empty());
  const at::Tensor embedding = model.tensors.at("model.embed_tokens.weight").value;
  CHECK(lisa::shape_text(embedding.sizes().vec()) == "[704, 64]");
  CHECK((embedding.scalar_type() == at::kFloat));
  const std::string file = model.tensors.at("lm_head.weight").file;
  CHECK(file.ends_with("model_a/pytorch_model.bin"));

  const lisa::TensorArchive clip = lisa::read_archive(golden + "/clip_a/pytorch_model.bin", {.check_finite = true});
  CHECK(clip.tensors.size() == 78);
  CHECK(clip.tensors.at("logit_scale").value.dim() == 0);

  const lisa::TensorArchive answers = lisa::read_archive(golden + "/a1/a1.safetensors");
  CHECK(lisa::shape_text(answers.tensors.at("input_ids").value.sizes().vec()) == "[1, 82]");
  CHECK((answers.tensors.at("input_ids").value.scalar_type() == at::kLong));
}
