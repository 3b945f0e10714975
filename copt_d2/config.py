"""Every configuration key that this project adds to detectron2's, with its default. No logic."""

from detectron2.config import CfgNode as CN


def add_copt_config(cfg: CN) -> None:
    """Adds the keys to a detectron2 config, in place, and sets the defaults that differ from
    detectron2's.
    """
    _add_data_config(cfg)
    _add_network_config(cfg)
    _add_method_config(cfg)
    _add_solver_config(cfg)


def _add_data_config(cfg: CN) -> None:
    # DATASETS.TRAIN are the labelled source data sets, DATASETS.TEST the evaluated ones
    cfg.DATASETS.TARGET = ()  # unlabelled target data sets; their label files are never opened
    cfg.DATASETS.TARGET_LABELED = ()  # a few labelled target images, which join the source
    cfg.DATASETS.TARGET_LABELED_SHARE = 0.25  # of the source images of a batch, drawn per sample
    cfg.DATASETS.FILE = ""  # data description: own data sets in one YAML, which fills other keys
    cfg.DATASETS.FILE_CONTENT = ""  # its text, filled in; counts where FILE is not there any more

    cfg.INPUT.FORMAT = "RGB"
    # (w, h) box to fit images into, aspect kept; one number = the short side; () = as stored
    cfg.INPUT.SOURCE_RESIZE = ()
    cfg.INPUT.TARGET_RESIZE = ()  # the same for target images
    cfg.INPUT.TEST_RESIZE = ()  # the same in evaluation; predictions are resized back
    cfg.INPUT.BIT_DEPTH = 0  # bits of the camera in 16-bit images (8..16); 0 = BIT_DEPTHS, or found
    cfg.INPUT.BIT_DEPTHS = []  # rows [data set, bits], found when a training starts
    cfg.INPUT.SCALE_RANGE = (1.0, 1.0)  # random factor on both training boxes, drawn per image
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [512, 512]  # (h, w)
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = (
        0.75  # source: a crop with a larger share of one class is redrawn
    )
    cfg.INPUT.PHOTOMETRIC_DISTORTION = (
        False  # brightness, contrast, saturation, hue of source images in the loader
    )
    cfg.INPUT.VALID_MARGINS = (
        0,
        0,
        0,
        0,
    )  # untrusted target border: top, bottom, left, right, pixels as read

    cfg.DATALOADER.NUM_WORKERS = 1
    cfg.DATALOADER.RARE_CLASS = CN()
    cfg.DATALOADER.RARE_CLASS.ENABLED = True  # False = source images drawn uniformly
    cfg.DATALOADER.RARE_CLASS.TEMPERATURE = 0.01
    cfg.DATALOADER.RARE_CLASS.MIN_PIXELS = 3000  # of the class in the image, at stored size
    cfg.DATALOADER.RARE_CLASS.MIN_CROP_RATIO = 0.5  # the crop must hold MIN_PIXELS times this
    cfg.DATALOADER.RARE_CLASS.STATS = (
        ""  # folder with sample_class_stats.json or _dict.json; "" = counted once and cached
    )


def _add_network_config(cfg: CN) -> None:
    cfg.MODEL.META_ARCHITECTURE = "UDASegmentor"
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.WEIGHTS_PART = "student"  # or "teacher": which network of the file MODEL.WEIGHTS
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]

    cfg.MODEL.BACKBONE.NAME = "build_timm_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = (
        0  # 0 = all is trained; k = stem and stages down to res<k> are not
    )
    cfg.MODEL.TIMM = CN()
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"  # any timm model that can run with features_only
    cfg.MODEL.TIMM.WEIGHTS = (
        "embedded"  # "embedded" (lite0), "timm" (timm's download), a file, "" = random
    )
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.0
    cfg.MODEL.TIMM.FREEZE_NORM = True  # batch norms use and keep their ImageNet statistics

    cfg.MODEL.MIT = CN()  # read by MODEL.BACKBONE.NAME "build_mit_backbone"
    cfg.MODEL.MIT.VARIANT = "b5"  # "b0".."b5"
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.1
    cfg.MODEL.MIT.WEIGHTS = ""  # file with ImageNet weights in the official layout; "" = random

    cfg.MODEL.HRDA = CN()
    cfg.MODEL.HRDA.ENABLED = False  # True: context at half size, details of a crop at full size
    cfg.MODEL.HRDA.CROP_SIZE = 512  # side of the detail crop, in pixels of the training crop
    cfg.MODEL.HRDA.WINDOW_BATCH = 32  # detail crops of an image at a time in inference
    cfg.MODEL.HRDA.DETAIL_LOSS_WEIGHT = 0.1  # of the crop's own loss; the fused one has the rest

    cfg.MODEL.SEM_SEG_HEAD.NAME = "DAFormerHead"
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 256
    cfg.MODEL.SEM_SEG_HEAD.FUSION = "sep_aspp"  # or "conv", the cheap one: a single 1x1 convolution
    cfg.MODEL.SEM_SEG_HEAD.DILATIONS = (1, 6, 12, 18)
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.1


def _add_method_config(cfg: CN) -> None:
    cfg.MODEL.UDA = CN()
    cfg.MODEL.UDA.PHASES = ("source",)  # in this order: "source", "mixed", "masked"
    cfg.MODEL.UDA.FEATURE_LOSSES = ()  # names of LOSS_REGISTRY, applied to the source pass
    cfg.MODEL.UDA.TARGET_FEATURE_LOSSES = ()  # the same on a clean target pass, by pseudo-labels
    cfg.MODEL.UDA.TEACHER_ALPHA = 0.999
    cfg.MODEL.UDA.PSEUDO_THRESHOLD = 0.968  # confidence from which a pixel counts for the weight
    cfg.MODEL.UDA.IGNORE_TOP = 0  # rows of every target crop with weight 0 (DAFormer: 15)
    cfg.MODEL.UDA.IGNORE_BOTTOM = 0  # (DAFormer: 120)
    cfg.MODEL.UDA.JITTER_PROBABILITY = 0.8
    cfg.MODEL.UDA.JITTER_STRENGTH = 0.2
    cfg.MODEL.UDA.BLUR_PROBABILITY = 0.5
    cfg.MODEL.UDA.MASK_RATIO = 0.7  # share of hidden patches
    cfg.MODEL.UDA.MASK_BLOCK_SIZE = 64  # side of a patch in pixels
    cfg.MODEL.UDA.MASK_WEIGHT = 1.0
    cfg.MODEL.UDA.MASK_DOMAINS = ("target",)  # what is masked; both = half of the batch of each
    cfg.MODEL.UDA.MASK_AUGMENT = True  # colour jitter and blur before the mask

    cfg.MODEL.UDA.FEATURE_DISTANCE = CN()
    cfg.MODEL.UDA.FEATURE_DISTANCE.WEIGHT = 0.005
    cfg.MODEL.UDA.FEATURE_DISTANCE.CLASSES = []  # train ids; [] = the data set's thing classes
    cfg.MODEL.UDA.FEATURE_DISTANCE.MIN_RATIO = 0.75  # share of a cell that its class must reach

    cfg.MODEL.COPT = CN()
    cfg.MODEL.COPT.WEIGHT = 1.0
    cfg.MODEL.COPT.TEXT_BANK = ""  # safetensors file; "" = made from the keys below and cached
    cfg.MODEL.COPT.CLASS_NAMES = []  # [] = the data set's; an entry may be a list of synonyms
    # template lists of the source domain, e.g. ("day",); an entry "hand_crafted:WORDS" is no list
    # but the one template "a WORDS of a CLASS" (Eq. 2)
    cfg.MODEL.COPT.SOURCE_DOMAINS = ()
    cfg.MODEL.COPT.TARGET_DOMAINS = ()  # and of the target domain, e.g. ("dusk",)
    cfg.MODEL.COPT.TEMPLATES = (
        ""  # JSON file or folder of lists; "" = copt_d2/text/templates; "hand_crafted" = no lists:
        # "a DOMAIN of a CLASS" of the words in SOURCE_DOMAINS and TARGET_DOMAINS (Eq. 2)
    )
    cfg.MODEL.COPT.ARTICLE = False  # True: "A CLASS with ..." (Eq. 4), not the bare name (released)
    cfg.MODEL.COPT.AVERAGING = "flat"  # or "two_level": list, then domain, then both (Eqs. 3, 5)
    cfg.MODEL.COPT.NORMALIZE_PROMPTS = False  # True: each prompt's embedding has L2 norm 1
    cfg.MODEL.COPT.ENCODER = "minilm"  # or open_clip:ViT-B-32, sentence_transformers:NAME, hf:NAME
    cfg.MODEL.COPT.ENCODER_WEIGHTS = ""  # local folder or file; "" = the Hugging Face cache
    cfg.MODEL.COPT.ENCODER_POOLING = "last"  # of a language model's tokens, or "mean"
    cfg.MODEL.COPT.ENCODER_DTYPE = "float32"  # of a language model, or "bfloat16", "float16"
    cfg.MODEL.COPT.ENCODER_DEVICE = "cpu"  # or "cuda"; "auto" spreads a language model
    cfg.MODEL.COPT.POOLING = "nearest"  # or "area", "bilinear"
    cfg.MODEL.COPT.DECAY = 0.5  # of the memory bank's old value; 0 = no memory
    # with several processes: centroids and memory bank of the whole batch
    cfg.MODEL.COPT.SYNC_CLASS_FEATURES = True
    cfg.MODEL.COPT.METRIC = "cosine"  # or "l1", "l2"
    cfg.MODEL.COPT.BANK_INIT = "zeros"  # or "first": a class's first update copies its centroid


def _add_solver_config(cfg: CN) -> None:
    cfg.SEED = 0
    cfg.SOLVER.IMS_PER_BATCH = 2  # source images a step over all processes; as many target images
    cfg.SOLVER.BASE_LR = 6e-5
    cfg.SOLVER.HEAD_LR_MULTIPLIER = 10.0
    cfg.SOLVER.WEIGHT_DECAY = 0.01
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    cfg.SOLVER.MAX_ITER = 40000
    cfg.SOLVER.WARMUP_ITERS = 1500
    cfg.SOLVER.WARMUP_FACTOR = 1e-6
    cfg.SOLVER.POLY_POWER = 1.0
    cfg.SOLVER.BACKWARD = "phase"  # a backward pass per "phase", per "loss", or one of the "sum"
    cfg.SOLVER.CHECKPOINT_PERIOD = 2000
    cfg.SOLVER.LOG_PERIOD = 50
    cfg.SOLVER.IMAGE_PERIOD = (
        1000  # iterations between pictures of a training batch in TensorBoard; 0 = none
    )

    cfg.TEST.EVAL_PERIOD = 4000
    cfg.TEST.WINDOW = ()  # (h, w) of the sliding window; () = the whole image at once
    cfg.TEST.STRIDE = ()  # (h, w) step of the window
    cfg.TEST.CLASSES = []  # train ids in the mean; [] = the data set's own subset
    cfg.TEST.PICTURES = 8  # images of the prediction sheet; 0 = none
    cfg.TEST.EXPORT = ()  # prediction files: train_ids, color, cityscapes, acdc, dark_zurich
