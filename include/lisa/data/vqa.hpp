#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/opened_data_set.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/json_items.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/text/image_placeholder.hpp"
#include "lisa/text/seg_mark.hpp"
#include "lisa/text/utf8.hpp"

namespace lisa {

namespace detail {

/// A conversation about an image in words alone.
struct VqaItem {
  std::string id;
  std::string image;  ///< path below the folder of the pictures
  std::vector<Exchange> exchanges;
};

struct VqaItems {
  std::filesystem::path folder;  ///< of the pictures
  std::vector<VqaItem> items;
};

/// Reads the items of a LLaVA-Instruct file and notes what is wrong with them.
class VqaReader {
 public:
  VqaReader(std::string file, std::vector<VqaItem>& items) : defects_(std::move(file)), items_(items) {}

  void add(std::size_t index, const Json& value) {
    place_ = "item " + std::to_string(index);
    if (!value.is_object()) return refuse("", found_expected(json_in_words(value), "an object"));
    VqaItem item;
    const auto image = value.find("image"), id = value.find("id"), messages = value.find("conversations");
    if (image == value.end() || !image->is_string() || image->get_ref<const std::string&>().empty())
      return refuse(" image", found_expected(image == value.end() ? "none" : json_in_words(*image), "a file name"));
    item.image = image->get<std::string>();
    item.id = id != value.end() && id->is_string() ? id->get<std::string>() : item.image;
    place_ += " (" + quoted(item.id) + ")";
    if (messages == value.end() || !messages->is_array())
      return refuse(" conversations",
                    found_expected(messages == value.end() ? "none" : json_in_words(*messages), "a list of messages"));
    if (read_messages(*messages, item.exchanges)) items_.push_back(std::move(item));
  }

  void finish(const std::vector<JsonMember>& members) {
    if (members.size() != 1 || !members.front().name.empty() || !members.front().is_array)
      defects_.add("the file", "found another value, expected an array");
    if (items_.empty() && defects_.empty()) defects_.add("the file", "found no item, expected some");
    defects_.throw_if_any();
  }

 private:
  void refuse(const std::string& where, const std::string& message) { defects_.add(place_ + where, message); }

  /// Questions of "human" and answers of "gpt" in turn; what comes before the first question is skipped, as LISA does.
  bool read_messages(const Json& messages, std::vector<Exchange>& exchanges) {
    std::size_t images = 0;
    bool asked = false;  // a question waits for its answer
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const std::string where = " conversations[" + std::to_string(i) + "]";
      const Json& message = messages[i];
      if (!message.is_object() || !is_text(message, "from") || !is_text(message, "value"))
        return refuse(where, "found another value, expected {from, value} with strings"), false;
      const std::string& from = message["from"].get_ref<const std::string&>();
      std::string text = message["value"].get<std::string>();
      if (i == 0 && from == "gpt") continue;
      const std::string_view expected = asked ? "gpt" : "human";
      if (from != expected) return refuse(where, found_expected("a message from " + quoted(from), expected)), false;
      images += count_images(text);
      if (count_images(text) > 0 && (asked || !exchanges.empty()))
        return refuse(where, "found \"<image>\" behind the first question, expected it there"), false;
      if (count_segs(text) > 0) return refuse(where, "found \"[SEG]\", expected words: there are no masks"), false;
      if (const std::size_t at = text.find(image_placeholder); at != std::string::npos)
        text.erase(at, image_placeholder.size());
      const std::string_view words = strip_right(strip_left(text));
      if (words.empty()) return refuse(where, "found no words, expected some"), false;
      if (asked)
        exchanges.back().answer = words;
      else
        exchanges.push_back({std::string(words), {}});
      asked = !asked;
    }
    if (exchanges.empty() || asked)
      return refuse(" conversations", asked ? "found a question without an answer at the end, expected both"
                                            : "found no question, expected one"),
             false;
    if (images != 1)
      return refuse(" conversations", found_expected(std::to_string(images) + " \"<image>\"", "exactly 1")), false;
    return true;
  }

  [[nodiscard]] static bool is_text(const Json& object, const char* name) {
    const auto value = object.find(name);
    return value != object.end() && value->is_string();
  }

  FileDefects defects_;
  std::vector<VqaItem>& items_;
  std::string place_;
};

}  // namespace detail

/// LLaVA-Instruct's conversations about pictures, which have no masks, as LISA trains on them (utils/vqa_dataset.py):
/// below `base`, `llava_dataset/<name>.json` and pictures in `coco/train2017`. The file is read item by item; the texts
/// stay in memory, pictures are read with their sample.
/// @param name  "llava_instruct_150k"
/// @throws FormatError with every defect of the file; InputError, IoError, LimitError
[[nodiscard]] inline OpenedDataSet vqa_training(const std::filesystem::path& base,
                                                const std::string& name = "llava_instruct_150k") {
  if (name.empty() || name.find_first_of("/|") != std::string::npos)
    throw InputError("data set", found_expected(quoted(name), "the name of a file as in \"llava_instruct_150k\""));
  const std::filesystem::path path = base / "llava_dataset" / (name + ".json");
  const auto set = std::make_shared<detail::VqaItems>();
  set->folder = base / "coco" / "train2017";
  detail::VqaReader reader(shown_path(path), set->items);
  reader.finish(read_json_items(
      path, [](std::string_view member) { return member.empty(); },
      [&](std::string_view, std::size_t index, Json&& item) { reader.add(index, item); }));
  const auto read = [set = std::shared_ptr<const detail::VqaItems>(set), name](std::size_t index, Random&) {
    const detail::VqaItem& item = set->items[index];
    return Sample{"vqa|" + name + "|" + item.id, read_image(set->folder / item.image), {{item.exchanges, {}, {}}}};
  };
  return {{"vqa|" + name, set->items.size(), read}, {}};
}

}  // namespace lisa
