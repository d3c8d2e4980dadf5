#include "answer_files.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/save.hpp"
#include "lisa/image/enlarge.hpp"
#include "lisa/image/mask_json.hpp"
#include "lisa/image/overlay.hpp"
#include "lisa/image/write_png.hpp"
#include "terminal.hpp"

namespace lisa::program {
namespace {

nlohmann::ordered_json mask_record(const AnswerMask& mask, const AnswerFileOptions& options) {
  nlohmann::ordered_json record;
  record["token_index"] = mask.token_index;
  record["iou_score"] = mask.iou_score;
  record["stability_score"] = mask.stability_score;
  record["area"] = area(mask.bits);
  record["bbox"] = box_json(bounding_box(mask.bits));
  record["segmentation"] = rle_json(mask.bits);
  if (options.polygons) record["polygons"] = polygon_json(mask.bits);
  return record;
}

std::string write_overlay(const std::filesystem::path& path, const Image& image, const Answer& answer) {
  constexpr int readable_width = 480;  // below it a legend has no room: small pictures are shown enlarged
  const int factor = std::max(1, readable_width / std::max(1, image.width));
  std::vector<BitMask> masks;
  for (const AnswerMask& mask : answer.masks) masks.push_back(enlarge(mask.bits, factor));
  std::vector<OverlayItem> items;
  for (std::size_t i = 0; i < masks.size(); ++i) items.push_back({&masks[i], answer.text, answer.masks[i].iou_score});
  write_png(path, draw_overlay(enlarge(image, factor), items));
  return path.string();
}

void write_logits(const std::filesystem::path& path, const Answer& answer, const ModelSession& session) {
  NamedTensors tensors;
  for (std::size_t i = 0; i < answer.masks.size(); ++i)
    tensors.emplace_back("mask_logits." + std::to_string(i), session.full_size_logits(answer.masks[i]));
  write_safetensors(path, tensors);
}

std::string number(const char* pattern, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

}  // namespace

WrittenAnswer write_answer(const std::string& id, const Image& image, const Answer& answer, const ModelSession& session,
                           const AnswerFileOptions& options) {
  std::error_code code;
  std::filesystem::create_directories(options.folder, code);
  if (code) throw IoError(printable(options.folder.string()), {}, "cannot make this folder: " + code.message());
  WrittenAnswer written;
  nlohmann::ordered_json& record = written.record;
  record["answer"] = answer.text;
  record["stopped_by"] = to_string(answer.stopped_by);
  record["drafted_tokens"] = answer.drafted_tokens;
  record["text_output"] = session.chat_text(answer);
  record["prompt_ids"] = answer.prompt_ids;
  record["answer_ids"] = answer.answer_ids;
  record["image_size"] = {image.height, image.width};
  record["masks"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < answer.masks.size(); ++i) {
    const auto path = options.folder / (id + "_mask_" + std::to_string(i) + ".png");
    write_png(path, answer.masks[i].bits);
    written.masks.push_back(path.string());
    record["masks"].push_back(mask_record(answer.masks[i], options));
    record["masks"].back()["png"] = path.filename().string();
  }
  if (options.overlay && !answer.masks.empty()) {
    written.overlay = write_overlay(options.folder / (id + "_overlay.png"), image, answer);
    record["overlay"] = std::filesystem::path(written.overlay).filename().string();
  }
  if (options.logits && !answer.masks.empty()) {
    const auto path = options.folder / (id + "_logits.safetensors");
    write_logits(path, answer, session);
    record["logits"] = path.filename().string();
  }
  nlohmann::ordered_json seconds;
  answer.times.for_each([&](std::string_view stage, double value) { seconds[std::string(stage)] = value; });
  record["seconds"] = std::move(seconds);
  record["peak_memory_bytes"] = peak_memory();
  return written;
}

std::string json_line(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string answer_in_words(const Answer& answer, const WrittenAnswer& written) {
  std::string text = "Answer   " + printable(answer.text, std::string::npos) + "\n";
  for (std::size_t i = 0; i < answer.masks.size(); ++i) {
    const AnswerMask& mask = answer.masks[i];
    const double pixels = static_cast<double>(mask.bits.height()) * mask.bits.width();
    text += "Mask " + std::to_string(i) + "   " + std::to_string(area(mask.bits)) + " pixels (" +
            number("%.1f", 100.0 * static_cast<double>(area(mask.bits)) / pixels) + " %), IoU score " +
            number("%.2f", mask.iou_score) + ", stability " + number("%.2f", mask.stability_score) + "  " +
            written.masks[i] + "\n";
  }
  if (answer.masks.empty()) text += "Masks    none: the answer has no [SEG] (--segmentation forced asks for one)\n";
  if (!written.overlay.empty()) text += "Overlay  " + written.overlay + "\n";
  text += "Time     ";
  answer.times.for_each([&](std::string_view stage, double value) {
    if (value > 0) text += std::string(stage) + " " + duration(value) + ", ";
  });
  return text + "total " + duration(answer.times.total()) + "\n";
}

double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

}  // namespace lisa::program
