# How the project's own targets are built. Nothing here reaches a user's targets.

# ccache may take a precompiled header's macros and __TIME__ for granted: neither is used. Paths are hashed relative to the
# project, so that another clone finds what this one has compiled.
find_program(LISA_CCACHE ccache)
mark_as_advanced(LISA_CCACHE)
if(PROJECT_IS_TOP_LEVEL AND LISA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
      CCACHE_NOHASHDIR=1 "${LISA_CCACHE}")
endif()
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

set(LISA_SANITIZER_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
set(LISA_WARNING_FLAGS -Wall -Wextra $<$<BOOL:${LISA_WARNINGS_AS_ERRORS}>:-Werror>)

# Warnings, and sanitizers where the build asks for them: every executable and object library of the project.
function(lisa_own_target target)
  target_compile_options(${target} PRIVATE ${LISA_WARNING_FLAGS})
  if(LISA_SANITIZE)
    lisa_sanitize(${target})
  endif()
endfunction()

function(lisa_sanitize target)
  target_compile_options(${target} PRIVATE ${LISA_SANITIZER_FLAGS})
  target_link_options(${target} PRIVATE ${LISA_SANITIZER_FLAGS})
endfunction()
