//! The table of known models.
//!
//! Sizes and sums are of the commit that each row names, as Hugging Face states them for large files and as projects that pin the same
//! commit have published them for small ones; a sum that nobody was found to have published is `UNKNOWN`, never a guess. Word
//! errors are those of the model cards, on LibriSpeech `test-clean` (Radford et al., "Robust Speech Recognition via Large-Scale
//! Weak Supervision", 2022, describes how they are counted); the cards of `large-v3` and its turbo state none. The picture model's
//! figure is that of the table of the TensorFlow models it was converted from.

use super::known::{Known, KnownFile, Published, Size, Task};

/// A file of which no published sum is known.
const UNKNOWN: &str = "";

const fn file(name: &'static str, size: Size, sha256: &'static str) -> KnownFile {
    KnownFile { name, size, sha256: if sha256.is_empty() { None } else { Some(sha256) } }
}

/// Every model that is known, by task and size.
pub(super) const TABLE: &[Known] = &[
    Known {
        name: "whisper-tiny.en",
        task: Task::Speech,
        about: "English speech to text",
        repository: "openai/whisper-tiny.en",
        revision: "87c7102498dcde7456f24cfd30239ca606ed9063",
        licence: "Apache-2.0",
        published: Some(Published::WordError(8.44)),
        files: &[
            file("config.json", Size::Exact(1_937), "b5366317df280f79e6cc366f259f379674f81a8721d458acf2e00680ccb10b1d"),
            file(
                "generation_config.json",
                Size::Exact(1_621),
                "38744c19d5cede6ff4dab5079c6d6ddc02ca726960bbef208fb602ad5a030eab",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_405_679),
                "5eb60cec1e77aeeb6869a2bb5a8e01a84c3fe5d072d75369343021fe6f5310d0",
            ),
            file(
                "model.safetensors",
                Size::Exact(151_060_136),
                "db59695928ded6043adaef491a53ef4e12da9611184d77c53baa691a60b958ad",
            ),
        ],
    },
    Known {
        name: "whisper-tiny",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-tiny",
        revision: "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        licence: "Apache-2.0",
        published: Some(Published::WordError(7.55)),
        files: &[
            file("config.json", Size::Exact(1_983), "ffdccec4f3211f4c63310f2b7098f309fe70f3952cedc5e4d11e43f5b2379b98"),
            file(
                "generation_config.json",
                Size::Exact(3_747),
                "a5d5325911f16e74001a72fa13d6e208eee51548f994646de1f4b4cc8b35b512",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_466),
                "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            ),
            file(
                "model.safetensors",
                Size::Exact(151_061_672),
                "7ebd0e69e78190ffe1438491fa05cc1f5c1aa3a4c4db3bc1723adbb551ea2395",
            ),
        ],
    },
    Known {
        name: "whisper-base.en",
        task: Task::Speech,
        about: "English speech to text",
        repository: "openai/whisper-base.en",
        revision: "911407f4214e0e1d82085af863093ec0b66f9cd6",
        licence: "Apache-2.0",
        published: Some(Published::WordError(4.27)),
        files: &[
            file("config.json", Size::Exact(1_937), "160c1df40a60d4ef5a6014d536fd845c33aabfd1f318458ac7f87cfe91ebbe76"),
            file(
                "generation_config.json",
                Size::Exact(1_531),
                "c5750f05d94777579e00ce26ef65e5d87c108439f90e3ac519df2587b9d5d41f",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_405_679),
                "5eb60cec1e77aeeb6869a2bb5a8e01a84c3fe5d072d75369343021fe6f5310d0",
            ),
            file(
                "model.safetensors",
                Size::Exact(290_401_888),
                "d4dd5542fd6a1d35639e21384238f3bfe6c557c849d392b5905d33ee29e71db5",
            ),
        ],
    },
    Known {
        name: "whisper-base",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-base",
        revision: "e37978b90ca9030d5170a5c07aadb050351a65bb",
        licence: "Apache-2.0",
        published: Some(Published::WordError(5.01)),
        files: &[
            file("config.json", Size::Exact(1_983), "a153c53883a6799b6f056b4a8d1a515c9926d03994682ba88a7616618d7da0c1"),
            file(
                "generation_config.json",
                Size::Exact(3_807),
                "444b3f636d2fff89dd9ecf549e2a085b61f7ff0fa0246d4628bac6a3b8cc9ba4",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_466),
                "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            ),
            file(
                "model.safetensors",
                Size::Exact(290_403_936),
                "07cadb9f25677c8d50df603e66a98fbd842cce45047139baeb16e6219a1e807b",
            ),
        ],
    },
    Known {
        name: "whisper-small.en",
        task: Task::Speech,
        about: "English speech to text",
        repository: "openai/whisper-small.en",
        revision: "e8727524f962ee844a7319d92be39ac1bd25655a",
        licence: "Apache-2.0",
        published: Some(Published::WordError(3.05)),
        files: &[
            file("config.json", Size::Exact(1_943), "3441094addfb2a31ef62ea117e95bd6e437bbad8e93d3697fe420a4a6d3603a5"),
            file(
                "generation_config.json",
                Size::Exact(1_931),
                "aad4e18c0fb1d063c5b38b4080cec3c4c8cdfff95e1de4797013470654a5a72a",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_405_679),
                "5eb60cec1e77aeeb6869a2bb5a8e01a84c3fe5d072d75369343021fe6f5310d0",
            ),
            file(
                "model.safetensors",
                Size::Exact(966_992_008),
                "6014ac49b506df900f66f4aca6b0801eed7245594ace97bcaf73e0ae5b863066",
            ),
        ],
    },
    Known {
        name: "whisper-small",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-small",
        revision: "973afd24965f72e36ca33b3055d56a652f456b4d",
        licence: "Apache-2.0",
        published: Some(Published::WordError(3.43)),
        files: &[
            file("config.json", Size::Exact(1_967), "e6a2b489da1b5aed65a8eb8d1e7466fa867ad5643a8bc138ba708bd56b2875c4"),
            file(
                "generation_config.json",
                Size::Exact(3_868),
                "71565b8ef50d0bf7a1193ed4bbed195b94e70c18894d81bba2f1233dcec3ab53",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_466),
                "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            ),
            file(
                "model.safetensors",
                Size::Exact(966_995_080),
                "1d7734884874f1a1513ed9aa760a4f8e97aaa02fd6d93a3a85d27b2ae9ca596b",
            ),
        ],
    },
    Known {
        name: "whisper-medium.en",
        task: Task::Speech,
        about: "English speech to text",
        repository: "openai/whisper-medium.en",
        revision: "2e98eb6279edf5095af0c8dedb36bdec0acd172b",
        licence: "Apache-2.0",
        published: Some(Published::WordError(4.12)),
        files: &[
            file("config.json", Size::Exact(1_945), UNKNOWN),
            file(
                "generation_config.json",
                Size::Exact(1_947),
                "6f73a0ac0b2388ebe86bc4430db58a6292cbe835fc50009d5d74e8bb096ef5dc",
            ),
            file("tokenizer.json", Size::About(2_410_000), UNKNOWN),
            file(
                "model.safetensors",
                Size::Exact(3_055_540_208),
                "8f731340f569588236c21f794c33e83b7cc5a297511d2bdc30117ea969004311",
            ),
        ],
    },
    Known {
        name: "whisper-medium",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-medium",
        revision: "abdf7c39ab9d0397620ccaea8974cc764cd0953e",
        licence: "Apache-2.0",
        published: Some(Published::WordError(2.90)),
        files: &[
            file("config.json", Size::Exact(1_991), "18706810eb740d1dc54d1db181358d5f8578600d0f449e51dfd4798c0223a1f5"),
            file(
                "generation_config.json",
                Size::Exact(3_755),
                "503290bc2da3923915d96a96ab96ddaa76e7ea18fbd4c5c1822a2947c82c86db",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_466),
                "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            ),
            file(
                "model.safetensors",
                Size::Exact(3_055_544_304),
                "62f73550fa6db24b0c6f6c5962bd0dae80fa644e93cde9cd9c3792971b47fd28",
            ),
        ],
    },
    Known {
        name: "whisper-large",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-large",
        revision: "4ef9b41f0d4fe232daafdb5f76bb1dd8b23e01d7",
        licence: "Apache-2.0",
        published: Some(Published::WordError(3.00)),
        files: &[
            file("config.json", Size::Exact(1_990), UNKNOWN),
            file(
                "generation_config.json",
                Size::Exact(3_850),
                "98d27db1dd795a89554115cd2ce9df84076b2df04e463d9ae387a9c12b5e4555",
            ),
            file("tokenizer.json", Size::About(2_480_000), UNKNOWN),
            file(
                "model.safetensors",
                Size::Exact(6_173_370_152),
                "27d753181b54178da228555dbc57fe639f6624ca470d83d35e500b22df0ab7e6",
            ),
        ],
    },
    Known {
        name: "whisper-large-v2",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-large-v2",
        revision: "ae4642769ce2ad8fc292556ccea8e901f1530655",
        licence: "Apache-2.0",
        published: Some(Published::WordError(3.00)),
        files: &[
            file("config.json", Size::Exact(1_993), "5f1573015838f8d679678b09354b537061561c55fd22eecd129ef4cf8588a470"),
            file(
                "generation_config.json",
                Size::Exact(4_294),
                "031721643aab5be7250eb668c6b9b5c67d2549420522ac1291bfd346bfff6297",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_466),
                "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            ),
            file(
                "model.safetensors",
                Size::Exact(6_173_370_152),
                "57a1ba2a82c093cabff2541409ae778c97145378b9ddfa722763cb1cb8f9020b",
            ),
        ],
    },
    Known {
        name: "whisper-large-v3",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-large-v3",
        revision: "06f233fe06e710322aca913c1bc4249a0d71fce1",
        licence: "Apache-2.0",
        published: None,
        files: &[
            file("config.json", Size::Exact(1_272), "ad0e8d1e46f4d01f7861a21509e5d0f977d6cc1f367a370603c92541d819807b"),
            file(
                "generation_config.json",
                Size::Exact(3_903),
                "fbdfa70135de9b1d31553393f14e80aaeb1936ea36576b2ba864055943c09d23",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_480_617),
                "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
            ),
            file(
                "model.safetensors",
                Size::Exact(3_087_130_976),
                "a8e94b85976e5864ba3e9525c7e6c83b2a1eca42d4b797a0c7c24d778e40fd95",
            ),
        ],
    },
    Known {
        name: "whisper-large-v3-turbo",
        task: Task::Speech,
        about: "speech to text, many languages",
        repository: "openai/whisper-large-v3-turbo",
        revision: "41f01f3fe87f28c78e2fbf8b568835947dd65ed9",
        licence: "MIT",
        published: None,
        files: &[
            file("config.json", Size::Exact(1_256), "c5b526b3e3cd64cd8940dabb45e8ba726629e22d8ed389c29b552f9140daf04a"),
            file(
                "generation_config.json",
                Size::Exact(3_772),
                "cce11bfe3aaa6ae9e072ea2637caaec8795e68d9b67e655a5af16ee509681a4c",
            ),
            file(
                "tokenizer.json",
                Size::Exact(2_710_337),
                "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd",
            ),
            file(
                "model.safetensors",
                Size::Exact(1_617_824_864),
                "542566a422ae4f3fd23f1ba11add198fca01bbf82e66e6a2857b3f608b1eb9d1",
            ),
        ],
    },
    Known {
        name: "mobilenet-v2-1.0-224",
        task: Task::Pictures,
        about: "what a picture shows",
        repository: "google/mobilenet_v2_1.0_224",
        revision: "5e58f27900895c96ce19c9acf60d0f30220c3424",
        licence: "other",
        published: Some(Published::TopOne(71.8)),
        files: &[
            file("config.json", Size::About(69_800), UNKNOWN),
            file("preprocessor_config.json", Size::Exact(406), UNKNOWN),
            file(
                "model.safetensors",
                Size::About(14_200_000),
                "94f61c6902b411e6b730cfe2443c8b2d983a2d50d289c4bd7083e0583ccdfe76",
            ),
        ],
    },
];
