// torch-free
#include "lisa/data/vqa.hpp"

#include <string>
#include <vector>

#include "lisa/image/write_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

void write_items(const fs::path& base, const std::string& content) {
  fs::create_directories(base / "llava_dataset");
  test::write_text(base / "llava_dataset" / "llava_instruct_150k.json", content);
}

std::string item(const std::string& messages) {
  return R"([{"id": "0001", "image": "a.jpg", "conversations": [)" + messages + "]}]";
}

std::string message(const std::string& from, const std::string& text) {
  return R"({"from": ")" + from + R"(", "value": ")" + text + "\"}";
}

}  // namespace

TEST_CASE("conversations of several turns are read without the image's place") {
  const test::TempDir base;
  fs::create_directories(base / "coco" / "train2017");
  write_png(base / "coco" / "train2017" / "a.jpg", make_image({2, 3}));
  write_items(base.path(), R"([{"image": "a.jpg", "conversations": [)" + message("gpt", "skipped") + "," +
                               message("human", "What is it?\\n<image>") + "," + message("gpt", " A cup. ") + "," +
                               message("human", "Whose?") + "," + message("gpt", "Mine.") + R"(]},
                              {"id": "0002", "image": "b.jpg", "conversations": [)" +
                               message("human", "<image>\\nHm?") + "," + message("gpt", "Yes.") + "]}]");
  const DataSet set = vqa_training(base.path()).data_set;
  REQUIRE(set.size == 2);
  Random random{1};
  const Sample sample = set.read(0, random);
  CHECK(sample.id == "vqa|llava_instruct_150k|a.jpg");
  CHECK(sample.image.size() == ImageSize{2, 3});
  REQUIRE(sample.dialogues.size() == 1);
  CHECK(sample.dialogues[0].exchanges == std::vector<Exchange>{{"What is it?", "A cup."}, {"Whose?", "Mine."}});
  CHECK(sample.dialogues[0].masks.empty());
  CHECK(test::broken_promises({.row = "missing", .kind = ErrorKind::io, .file = "b.jpg"},
                              [&] { static_cast<void>(set.read(1, random)); }) == "");
}

TEST_CASE("wrong items are refused") {
  struct Row {
    std::string id, content;
    std::vector<std::string> words;
  };
  const std::string asked = message("human", "<image>\\nWhat?"), answered = message("gpt", "A cup.");
  const std::vector<Row> rows{
      {"root", "{}", {"an array"}},
      {"132", "[]", {"no item"}},
      {"root", "[5]", {"item 0", "the number 5"}},
      {"image", R"([{"id": "1", "conversations": []}])", {"item 0 image", "none"}},
      {"list", R"([{"id": "1", "image": "a.jpg"}])", {"item 0 (\"1\") conversations", "none"}},
      {"141", item(""), {"no question"}},
      {"141", item(message("human", "<image>\\n ") + "," + answered), {"conversations[0]", "no words"}},
      {"135", item(message("human", "What?") + "," + answered), {"0 \"<image>\""}},
      {"136", item(message("human", "<image> <image> What?") + "," + answered), {"2 \"<image>\""}},
      {"137",
       item(asked + "," + answered + "," + message("human", "<image>?") + "," + answered),
       {"conversations[2]", "behind the first question"}},
      {"137", item(asked + "," + message("gpt", "<image>")), {"conversations[1]", "behind the first question"}},
      {"139", item(asked + "," + message("gpt", "It is [SEG].")), {"conversations[1]", "[SEG]"}},
      {"turns", item(asked + "," + asked), {"conversations[1]", "\"human\"", "gpt"}},
      {"turns", item(asked), {"without an answer"}},
      {"turns", item(asked + R"(, {"from": "gpt"})"), {"conversations[1]", "{from, value}"}},
      {"turns", item("5"), {"conversations[0]", "{from, value}"}},
      {"134", "[{]", {"line 1"}},
  };
  const test::TempDir base;
  for (const Row& row : rows) {
    write_items(base.path(), row.content);
    CHECK(test::broken_promises({.row = row.id + " " + row.content,
                                 .kind = ErrorKind::format,
                                 .file = "llava_instruct_150k.json",
                                 .words = row.words,
                                 .unchanged = base.path()},
                                [&] { static_cast<void>(vqa_training(base.path())); }) == "");
  }
  CHECK(test::broken_promises({.row = "name", .kind = ErrorKind::input, .words = {"../x"}},
                              [&] { static_cast<void>(vqa_training(base.path(), "../x")); }) == "");
}
