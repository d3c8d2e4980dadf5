#include "jobs.hpp"

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_fields.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa::program {
namespace {

std::vector<std::string> expand(const std::string& pattern) {
  if (pattern.find_first_of("*?[") == std::string::npos || std::filesystem::exists(pattern)) return {pattern};
  glob_t matches{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), GLOB_TILDE, nullptr, &matches) == 0)
    paths.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  globfree(&matches);
  if (paths.empty()) throw IoError(printable(pattern), {}, "found no file that matches this pattern");
  return paths;
}

/// Ids of images are their stems; equal stems are told apart by a number.
std::string unique_id(const std::string& wanted, std::set<std::string>& taken) {
  std::string id = wanted;
  for (int n = 2; !taken.insert(id).second; ++n) id = wanted + "-" + std::to_string(n);
  return id;
}

}  // namespace

std::string file_name_part(std::string_view text) {
  std::string name;
  for (const char c : text) name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' ? c : '_';
  if (name.empty() || name.front() == '.') name.insert(name.begin(), '_');
  constexpr std::size_t longest = 120;  // leaves room for suffixes below the usual 255 bytes
  return name.substr(0, longest);
}

std::vector<Job> jobs_for_images(const std::vector<std::string>& images, const std::string& prompt) {
  std::vector<Job> jobs;
  std::set<std::string> taken;
  for (const std::string& pattern : images)
    for (std::string& path : expand(pattern)) {
      std::string id = unique_id(file_name_part(std::filesystem::path(path).stem().string()), taken);
      jobs.push_back({std::move(id), std::move(path), prompt});
    }
  return jobs;
}

std::vector<Job> jobs_from_file(const std::string& path) {
  const auto file = std::make_unique<MappedFile>(path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::istringstream lines{std::string(file->text())};
  std::vector<Job> jobs;
  std::set<std::string> taken;
  Defects defects;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string place = "line " + std::to_string(number);
    try {
      const Json object = parse_json(line, place);
      const auto text = [&](const char* name) -> std::string {
        if (object.is_object() && object.contains(name) && object.at(name).is_string())
          return object.at(name).get<std::string>();
        return {};
      };
      Job job{text("id"), text("image"), text("prompt")};
      if (job.image.empty() || job.prompt.empty()) {
        defects.add(place + ": found " + (job.image.empty() ? "no \"image\"" : "no \"prompt\"") +
                    ", expected an object with the texts \"image\" and \"prompt\"");
        continue;
      }
      const std::filesystem::path image(job.image);
      if (image.is_relative()) job.image = (folder / image).string();
      const bool named = !job.id.empty();
      job.id = file_name_part(named ? job.id : image.stem().string());
      if (named && !taken.insert(job.id).second)
        defects.add(place + ": found the id " + quoted(job.id) + " a second time, expected one job for each id");
      if (!named) job.id = unique_id(job.id, taken);
      jobs.push_back(std::move(job));
    } catch (const Error& error) {
      defects.add(error.what());
    }
  }
  if (!defects.empty()) throw FormatError(printable(path), {}, defects.report("unusable lines"));
  if (jobs.empty()) throw FormatError(printable(path), {}, "found no job, expected one JSON object a line");
  return jobs;
}

}  // namespace lisa::program
