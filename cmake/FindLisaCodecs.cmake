# LisaCodecs::codecs: the libraries behind lisa::io. Found by header and library because Debian's OpenCV, libdeflate and
# libwebp packages bring no CMake configuration for the parts that are needed here.

if(TARGET LisaCodecs::codecs)
  set(LisaCodecs_FOUND TRUE)
  return()
endif()

set(_codecs_required "")
function(_lisa_find_codec name header)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "SUBFOLDER" "LIBRARIES")
  find_path(LisaCodecs_${name}_INCLUDE_DIR ${header} PATH_SUFFIXES ${arg_SUBFOLDER})
  mark_as_advanced(LisaCodecs_${name}_INCLUDE_DIR)
  list(APPEND _codecs_required LisaCodecs_${name}_INCLUDE_DIR)
  foreach(library ${arg_LIBRARIES})
    find_library(LisaCodecs_${library}_LIBRARY ${library})
    mark_as_advanced(LisaCodecs_${library}_LIBRARY)
    list(APPEND _codecs_required LisaCodecs_${library}_LIBRARY)
  endforeach()
  set(_codecs_required "${_codecs_required}" PARENT_SCOPE)
endfunction()

_lisa_find_codec(deflate libdeflate.h LIBRARIES deflate)
_lisa_find_codec(jpeg jpeglib.h LIBRARIES jpeg)
_lisa_find_codec(png png.h LIBRARIES png)
_lisa_find_codec(webp webp/decode.h LIBRARIES webp)
_lisa_find_codec(opencv opencv2/imgproc.hpp SUBFOLDER opencv4 LIBRARIES opencv_imgproc opencv_core)
_lisa_find_codec(json nlohmann/json.hpp)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LisaCodecs
  REQUIRED_VARS ${_codecs_required}
  REASON_FAILURE_MESSAGE
    "On Debian: apt install libdeflate-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libopencv-imgproc-dev nlohmann-json3-dev"
)
if(NOT LisaCodecs_FOUND)
  return()
endif()

add_library(LisaCodecs::codecs INTERFACE IMPORTED)
foreach(_codecs_variable ${_codecs_required})
  if(_codecs_variable MATCHES "_LIBRARY$")
    target_link_libraries(LisaCodecs::codecs INTERFACE "${${_codecs_variable}}")
  else()
    target_include_directories(LisaCodecs::codecs INTERFACE "${${_codecs_variable}}")
  endif()
endforeach()
