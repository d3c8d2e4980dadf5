// torch-free
#include "lisa/data/refer_seg.hpp"

#include <set>
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

using Labels = std::vector<std::uint8_t>;

/// LISA's folders with two images of 4 x 2 pixels, and three annotations: two overlapping parts, one part, none.
class ReferFolder {
 public:
  explicit ReferFolder(const std::string& data = "refcoco") : data_(data) {
    fs::create_directories(folder_ / "refer_seg" / data);
    fs::create_directories(pictures());
    for (const char* name : {"a.jpg", "b.jpg"}) write_png(pictures() / name, make_image({2, 4}));
    instances(R"([[0, 0, 3, 0, 3, 1, 0, 1], [2, 0, 4, 0, 4, 1, 2, 1]])");
  }
  [[nodiscard]] const fs::path& base() const { return folder_.path(); }
  [[nodiscard]] fs::path pictures() const {
    const fs::path images = folder_ / "refer_seg" / "images";
    return data_ == "refclef" ? images / "saiapr_tc-12" : images / "mscoco" / "images" / "train2014";
  }
  void instances(const std::string& first) const {
    write("instances.json",
          R"({"images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 4},
                         {"id": 2, "file_name": "b.jpg", "height": 2, "width": 4}],
              "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "segmentation": )" +
              first + R"(},
                              {"id": 8, "image_id": 1, "category_id": 2, "segmentation": [[0, 1, 1, 1, 1, 2, 0, 2]]},
                              {"id": 9, "image_id": 2, "category_id": 1, "segmentation": []}],
              "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "cup"}]})");
  }
  void write(const std::string& name, const std::string& content) const {
    test::write_text(folder_ / "refer_seg" / data_ / name, content);
  }
  void recorded_refs(int protocol, const std::string& name = "refs(unc).p") const {
    write(name, test::read_text(LISA_TEST_DATA "/fixtures/refer/refs_protocol_" + std::to_string(protocol) + ".p"));
  }

 private:
  test::TempDir folder_;
  std::string data_;
};

const Labels summed{1, 1, 2, 1, 0, 0, 0, 0}, covered{1, 1, 1, 1, 0, 0, 0, 0}, single{0, 0, 0, 0, 1, 0, 0, 0};

}  // namespace

TEST_CASE("validation asks every sentence about an image, whatever the pickle's protocol") {
  const ReferFolder folder;
  for (const int protocol : {0, 2, 4}) {
    CAPTURE(protocol);
    folder.recorded_refs(protocol);
    const OpenedDataSet opened = refer_evaluation(folder.base(), "refcoco|unc|train");
    REQUIRE(opened.warnings.size() == 1);  // the sentence without words
    CHECK(opened.warnings[0].find("item 2") != std::string::npos);
    REQUIRE(opened.data_set.size == 1);
    Random random{1};
    const Sample sample = opened.data_set.read(0, random);
    CHECK(sample.id == "refcoco|unc|train|a.jpg");
    REQUIRE(sample.dialogues.size() == 3);
    CHECK(sample.dialogues[0].exchanges ==
          std::vector<Exchange>{{"What is the lady in this image? Please output segmentation mask.", "[SEG]."}});
    CHECK(sample.dialogues[1].exchanges[0].question ==
          "What is blue shirt's in this image? Please output segmentation mask.");
    CHECK(sample.dialogues[0].masks.at(0).labels == covered);
    CHECK(sample.dialogues[1].masks.at(0).labels == covered);
    CHECK(sample.dialogues[2].masks.at(0).labels == single);

    const DataSet val = refer_evaluation(folder.base(), "refcoco|unc|val").data_set;
    REQUIRE(val.size == 1);
    CHECK(is_empty(val.read(0, random).dialogues[0].masks.at(0)));
  }
  Random random{1};
  const DataSet as_lisa = refer_evaluation(folder.base(), "refcoco|unc|train", ReferLabels::summed).data_set;
  CHECK(as_lisa.read(0, random).dialogues[0].masks.at(0).labels == summed);
}

TEST_CASE("sets that stand where LISA's validation looks for them are found") {
  const ReferFolder folder;
  folder.recorded_refs(0);
  CHECK(refer_evaluation(folder.base() / "refer_seg", "refcoco|unc|train").data_set.size == 1);
}

TEST_CASE("training asks some of the sentences in LISA's wordings") {
  const ReferFolder folder;
  folder.recorded_refs(0);
  const DataSet set = refer_training(folder.base(), "refcoco|unc|train", {.sentences = 2}).data_set;
  std::set<std::string> questions;
  for (std::uint64_t draw = 0; draw < 300; ++draw) {
    Random random{1, draw};
    const Sample sample = set.read(0, random);
    REQUIRE(sample.dialogues.size() == 2);
    for (const Dialogue& dialogue : sample.dialogues) {
      questions.insert(dialogue.exchanges.at(0).question);
      const bool about_left = dialogue.exchanges[0].question.find("left") != std::string::npos;
      CHECK(dialogue.masks.at(0).labels == (about_left ? single : covered));
    }
    CHECK(sample.dialogues[0].exchanges[0].question != sample.dialogues[1].exchanges[0].question);
  }
  CHECK(questions.size() == 3 * 4);
  CHECK(questions.contains("Please segment the the lady in this image."));
}

TEST_CASE("RefCLEF has run lengths and a folder of its own") {
  const ReferFolder folder("refclef");
  folder.instances(R"([{"size": [2, 4], "counts": "016"}, {"size": [2, 4], "counts": [2, 1, 5]}])");
  folder.recorded_refs(2);
  CHECK(test::broken_promises({.row = "123", .kind = ErrorKind::format, .words = {"instances.json", "segmentation[0]"}},
                              [&] { static_cast<void>(refer_evaluation(folder.base(), "refclef|unc|train")); }) == "");
  folder.instances(R"([{"size": [2, 4], "counts": "017"}, {"size": [2, 4], "counts": [2, 1, 5]}])");
  Random random{1};
  CHECK(refer_evaluation(folder.base(), "refclef|unc|train").data_set.read(0, random).dialogues[0].masks.at(0).labels ==
        Labels{1, 1, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("gRefCOCO refers to several objects or to none") {
  const ReferFolder folder("grefcoco");
  folder.write("grefs(unc).json",
               R"([{"ref_id": 0, "image_id": 1, "ann_id": [7, 8], "split": "val", "sentences": [{"sent": "both"}]},
                   {"ref_id": 1, "image_id": 1, "ann_id": [-1], "split": "val", "sentences": [{"sent": "a dog"}]},
                   {"ref_id": 2, "image_id": 1, "ann_id": [8], "split": "val", "sentences": [{"sent": "the Cup"}]}])");
  const DataSet set = refer_evaluation(folder.base(), "grefcoco|unc|val").data_set;
  REQUIRE(set.size == 1);
  Random random{1};
  const Sample sample = set.read(0, random);
  REQUIRE(sample.dialogues.size() == 3);
  CHECK(sample.dialogues[0].masks.at(0).labels == Labels{1, 1, 1, 1, 1, 0, 0, 0});
  CHECK(sample.dialogues[0].group == "several");
  CHECK(is_empty(sample.dialogues[1].masks.at(0)));
  CHECK(sample.dialogues[1].group == "no target");
  CHECK(sample.dialogues[2].group == "one");
}

TEST_CASE("wrong references are refused with all of their defects") {
  struct Row {
    std::string id, content;
    std::vector<std::string> words;
  };
  const auto ref = [](const std::string& image, const std::string& object, const std::string& sentences) {
    return R"([{"image_id": )" + image + R"(, "ann_id": )" + object + R"(, "split": "val", "sentences": )" + sentences +
           "}]";
  };
  const std::string good = R"([{"sent": "a"}])";
  const std::vector<Row> rows{
      {"116", ref("3", "[7]", good), {"item 0 image_id", "3"}},
      {"116", ref("\"1\"", "[7]", good), {"item 0 image_id", "the string"}},
      {"116", ref("1", "[17]", good), {"item 0 ann_id", "17"}},
      {"116", ref("1", "[9]", good), {"item 0 ann_id", "of another image"}},
      {"116", ref("1", "[]", good), {"item 0 ann_id", "an empty list"}},
      {"134", ref("18446744073709551615", "[7]", good), {"item 0 image_id"}},
      {"128", ref("1", "[7]", "[]"), {"sentences", "none"}},
      {"128", ref("1", "[7]", "5"), {"sentences", "the number 5"}},
      {"128", ref("1", "[7]", "[5]"), {"sentences[0]"}},
      {"128", ref("1", "[7]", R"([{"raw": "a"}])"), {"sentences[0]"}},
      {"132", "[]", {"no reference of split", "\"val\""}},
      {"132", R"([{"split": "testA"}])", {"no reference of split", "\"testA\""}},
      {"split", "[{}]", {"item 0 split", "missing"}},
      {"split", "[5, {\"split\": 5}]", {"2 defects", "item 0", "item 1 split"}},
      {"root", "{}", {"an array"}},
  };
  const ReferFolder folder("grefcoco");
  for (const Row& row : rows) {
    folder.write("grefs(unc).json", row.content);
    CHECK(test::broken_promises({.row = row.id + " " + row.content,
                                 .kind = ErrorKind::format,
                                 .file = "grefs(unc).json",
                                 .words = row.words,
                                 .unchanged = folder.base()},
                                [&] { static_cast<void>(refer_evaluation(folder.base(), "grefcoco|unc|val")); }) == "");
  }
  const auto refused = [&](const std::string& name, ErrorKind kind, const std::string& word) {
    return test::broken_promises({.row = name, .kind = kind, .words = {word}},
                                 [&] { static_cast<void>(refer_training(folder.base(), name)); });
  };
  CHECK(refused("refcoco", ErrorKind::input, "DATA|SPLITTER|SPLIT") == "");
  CHECK(refused("coco|unc|val", ErrorKind::input, "DATA|SPLITTER|SPLIT") == "");
  CHECK(refused("refcoco|../x|val", ErrorKind::input, "DATA|SPLITTER|SPLIT") == "");
  CHECK(refused("refcoco|unc|val", ErrorKind::io, "instances.json") == "");
  CHECK(refused("grefcoco|umd|val", ErrorKind::io, "grefs(umd).json") == "");
}

TEST_CASE("a list of objects is gRefCOCO's alone, and pictures have the size that is written") {
  const ReferFolder folder;
  folder.write(
      "refs(unc).p",
      "(lp0\n(dp1\nS'split'\nS'val'\nsS'image_id'\nI1\nsS'ann_id'\n(lI7\nasS'sentences'\n(l(dS'sent'\nS'a'\nsasa.");
  CHECK(test::broken_promises({.row = "list", .kind = ErrorKind::format, .file = "refs(unc).p", .words = {"one id"}},
                              [&] { static_cast<void>(refer_evaluation(folder.base(), "refcoco|unc|val")); }) == "");
  folder.recorded_refs(4);
  const DataSet set = refer_evaluation(folder.base(), "refcoco|unc|val").data_set;
  write_png(folder.pictures() / "b.jpg", make_image({4, 2}));
  const auto read = [&] {
    Random random{1};
    static_cast<void>(set.read(0, random));
  };
  CHECK(test::broken_promises(
            {.row = "size", .kind = ErrorKind::mismatch, .file = "b.jpg", .words = {"2x4", "4x2", "instances.json"}},
            read) == "");
  fs::remove(folder.pictures() / "b.jpg");
  CHECK(test::broken_promises({.row = "missing", .kind = ErrorKind::io, .file = "b.jpg"}, read) == "");
}
