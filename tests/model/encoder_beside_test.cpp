#include "lisa/model/encoder_beside.hpp"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "lisa/model/predictor.hpp"
#include "tests/model/answer_difference.hpp"
#include "tests/model/golden_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

PreparedImage prepared(const std::string& recorded) {
  const auto& loaded = golden_model();
  StageTimes times;
  return prepare_image(loaded.model, GoldenCase(recorded).image, loaded.sam_preprocess, loaded.clip_preprocess, times);
}

at::Tensor embedding_at_once(const PreparedImage& image) {
  const c10::InferenceMode no_gradients;
  return golden_model().model.encode_image(image.sam.image.unsqueeze(0));
}

/// SAM's encoder with something behind it, which its steps do not know.
struct HalvedEncoder : SamImageEncoder<golden_sam> {
  [[nodiscard]] at::Tensor forward(const at::Tensor& images) const {
    return SamImageEncoder<golden_sam>::forward(images).mul(0.5);
  }
};
static_assert(SteppedEncoder<SamImageEncoder<golden_sam>> && !SteppedEncoder<HalvedEncoder>);

/// Steps of a language model until the encoder has done what it can, or too many.
void make_steps(EncoderBeside<GoldenSpec>& encoder) {
  for (int i = 0; i < 2000 && at::get_num_threads() < 2; ++i) {
    encoder.make_room();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Every token in a step of its own, masks at the end or not at all.
AskOptions in_steps(bool masks_expected, Segmentation segmentation = Segmentation::forced) {
  AskOptions options;
  options.max_new_tokens = 12;
  options.drafts.clear();
  options.segmentation = segmentation;
  options.masks_expected = masks_expected;
  return options;
}

}  // namespace

TEST_CASE("embeddings made beside the language model are those made at once") {
  const aten::ThreadCount two(2);
  PreparedImage first = prepared("a1"), second = prepared("a2");
  EncoderBeside<GoldenSpec> encoder(golden_model().model, {&first, &second});
  encoder.make_room();
  CHECK(at::get_num_threads() == 1);
  make_steps(encoder);
  REQUIRE(at::get_num_threads() == 2);  // given back when the work was done
  for (PreparedImage* const image : {&first, &second}) {
    REQUIRE(image->embedding.defined());
    CHECK_FALSE(image->encoding.begun());
    CHECK(relative_l2(image->embedding, embedding_at_once(*image)) < 1e-5);
  }
}

TEST_CASE("an encoder that is stopped anywhere goes on from there") {
  const aten::ThreadCount two(2);
  for (dim steps = 0; steps <= 2 * golden_sam.layers + 1; ++steps) {
    CAPTURE(steps);
    PreparedImage image = prepared("a1");
    for (dim i = 0; i < steps; ++i) encode_further(golden_model().model, image);
    EncoderBeside<GoldenSpec> encoder(golden_model().model, {&image});
    encoder.make_room();
    encoder.pause();
    CHECK(at::get_num_threads() == 2);
    CHECK((image.embedding.defined() || image.encoding.steps + 1 >= steps));
    StageTimes times;
    ensure_embedding(golden_model().model, image, times);
    CHECK(relative_l2(image.embedding, embedding_at_once(image)) < 1e-5);
  }
}

TEST_CASE("steps of an encoding are counted and lose nothing on the way") {
  PreparedImage image = prepared("a1");
  int steps = 0;
  for (; !image.embedding.defined(); ++steps) encode_further(golden_model().model, image);
  CHECK(steps == 2 * golden_sam.layers + 2);  // the patches, the halves of the blocks, the neck
  CHECK(image.embedding.equal(embedding_at_once(image)));
}

TEST_CASE("an encoding that was started elsewhere is taken where the embedding is needed, and made once") {
  PreparedImage image = prepared("a1");
  encode_on_own_stream(golden_model().model, image);
  CHECK_FALSE(image.embedding.defined());
  REQUIRE(image.pending_embedding.has_value());
  const void* const made = image.pending_embedding->get().const_data_ptr();
  encode_on_own_stream(golden_model().model, image);
  StageTimes times;
  ensure_embedding(golden_model().model, image, times);
  CHECK(image.embedding.const_data_ptr() == made);
  CHECK(image.embedding.equal(embedding_at_once(image)));
  CHECK_FALSE(image.pending_embedding.has_value());
  CHECK(times.image_encoder == 0);
  encode_on_own_stream(golden_model().model, image);
  CHECK_FALSE(image.pending_embedding.has_value());
}

TEST_CASE("a single thread is not shared") {
  const aten::ThreadCount one(1);
  PreparedImage image = prepared("a1");
  EncoderBeside<GoldenSpec> encoder(golden_model().model, {&image});
  encoder.make_room();
  encoder.pause();
  CHECK_FALSE(image.encoding.begun());
  CHECK_FALSE(image.embedding.defined());
}

TEST_CASE("an encoder's error comes where the embedding is needed") {
  const aten::ThreadCount two(2);
  PreparedImage image = prepared("a1");
  image.sam.image = image.sam.image.narrow(-1, 0, 16);
  EncoderBeside<GoldenSpec> encoder(golden_model().model, {&image});
  encoder.make_room();
  make_steps(encoder);
  CHECK(at::get_num_threads() == 2);
  encoder.make_room();  // is not tried again
  CHECK(at::get_num_threads() == 2);
  StageTimes times;
  CHECK_THROWS_AS(ensure_embedding(golden_model().model, image, times), InputError);
}

TEST_CASE("answers are the same whether masks are expected or not") {
  const aten::ThreadCount two(2);
  for (const char* name : {"a1", "a2", "a3"}) {
    const GoldenCase recorded(name);
    Predictor<GoldenSpec> expecting(golden_model()), plain(golden_model());
    for (Predictor<GoldenSpec>* const predictor : {&expecting, &plain}) predictor->set_image(recorded.image);
    for (int turn = 0; turn < 2; ++turn) {
      CAPTURE(name);
      CAPTURE(turn);
      const Answer with = expecting.ask(recorded.question, in_steps(true));
      const Answer without = plain.ask(recorded.question, in_steps(false));
      REQUIRE(with.masks.size() > 0);
      CHECK(difference(with, without) == "");
      CHECK(at::get_num_threads() == 2);
    }
    const std::vector<std::string> batch{recorded.question, "Where is the cup?"};
    const auto with = expecting.ask_each(batch, in_steps(true)), without = plain.ask_each(batch, in_steps(false));
    for (std::size_t i = 0; i < batch.size(); ++i) CHECK(difference(with[i], without[i]) == "");
  }
}

TEST_CASE("masks that are waited for come with their [SEG], others with the whole answer") {
  const aten::ThreadCount two(2);
  const GoldenCase recorded("a2");  // three masks
  for (const bool waited_for : {true, false}) {
    Predictor<GoldenSpec> predictor(golden_model());
    predictor.set_image(recorded.image);
    AskOptions options = in_steps(true, Segmentation::automatic);
    options.max_new_tokens = 40;
    std::vector<dim> seen;
    if (waited_for) {
      options.on_mask = [&](const AnswerMask& mask) { seen.push_back(mask.token_index); };
    }
    const Answer answer = predictor.ask(recorded.question, options);
    REQUIRE(answer.masks.size() == 3);
    CHECK(seen.size() == (waited_for ? 3 : 0));
    for (std::size_t i = 1; i < 3; ++i) CHECK(answer.masks[i - 1].token_index < answer.masks[i].token_index);
    Predictor<GoldenSpec> plain(golden_model());
    plain.set_image(recorded.image);
    options.masks_expected = false;
    CHECK(difference(answer, plain.ask(recorded.question, options)) == "");
  }
}

TEST_CASE("an answer without the masks that were expected leaves the work to the next question") {
  const aten::ThreadCount two(2);
  const GoldenCase recorded("a1");
  Predictor<GoldenSpec> predictor(golden_model()), plain(golden_model());
  for (Predictor<GoldenSpec>* const each : {&predictor, &plain}) each->set_image(recorded.image);
  AskOptions words = in_steps(true, Segmentation::automatic);
  words.on_text = [](std::string_view) { return false; };  // ends after the first words
  const Answer text = predictor.ask("Describe the picture in one sentence.", words);
  CHECK(text.masks.empty());
  predictor.reset();
  CHECK(difference(predictor.ask(recorded.question), plain.ask(recorded.question)) == "");
}

TEST_CASE("where masks are ruled out the image encoder does not run") {
  const aten::ThreadCount two(2);
  Predictor<GoldenSpec> predictor(golden_model());
  predictor.set_image(GoldenCase("a1").image);
  (void)predictor.ask("Describe the picture.", in_steps(true, Segmentation::off));
  CHECK_FALSE(predictor.image().encoding.begun());
  CHECK_FALSE(predictor.image().embedding.defined());
}
